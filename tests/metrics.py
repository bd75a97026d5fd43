"""The metrics that a web process serves, as its registries know them."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import llmhub.asgi
from llmhub.http import probes

SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",), "gauge": ("",)}


@dataclass(frozen=True)
class Served:
    """Shape: `name` as the documentation has it: with `_total` where it counts."""

    name: str
    type: str
    labels: frozenset[str]

    @property
    def samples(self) -> dict[str, frozenset[str]]:
        """The labels of each name that a query can ask for."""
        base = self.name.removesuffix("_total")
        le = frozenset({"le"})
        return {f"{base}{s}": self.labels | (le if s == "_bucket" else frozenset()) for s in SUFFIXES[self.type]}


def served_metrics() -> list[Served]:
    assert llmhub.asgi.application
    counted = [c for c in REGISTRY._collector_to_names if isinstance(c, MetricWrapperBase)]
    found = [(metric.describe()[0], metric._labelnames) for metric in counted]
    for collector in probes.live_registry()._collector_to_names:
        found += [(family, family._labelnames) for family in collector.describe()]
    return [
        Served(f"{family.name}_total" if family.type == "counter" else family.name, family.type, frozenset(labels))
        for family, labels in found
        if family.name.startswith("llmhub_")
    ]
