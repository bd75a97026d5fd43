"""Prometheus metrics of providers: their state, read from the configuration in memory when asked for.

A provider that is deleted is gone from these at once; what was counted of it stays until the process ends.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Counter, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from llmhub.runtime.live_snapshot import LiveSnapshot
from providers.models import Health
from providers.snapshot import ProviderEntry, ProviderSnapshot

RATE_LIMITS_UNCHECKED = Counter(
    "llmhub_rate_limits_unchecked", "Attempts let through because Redis did not say whether they may.", ["provider"]
)


class ProviderStates(Collector):
    def __init__(self, providers: LiveSnapshot[ProviderSnapshot]) -> None:
        self._providers = providers

    def collect(self) -> Iterator[Metric]:
        yield from _families(self._providers.get().in_order)

    def describe(self) -> Iterator[Metric]:
        yield from _families(())


def _families(providers: tuple[ProviderEntry, ...]) -> Iterator[Metric]:
    health = GaugeMetricFamily(
        "llmhub_provider_health",
        "1 for the health that a provider has, 0 for the others.",
        labels=["provider", "health"],
    )
    enabled = GaugeMetricFamily("llmhub_provider_enabled", "Whether a provider is asked at all.", labels=["provider"])
    for provider in providers:
        enabled.add_metric([provider.name], provider.enabled)
        for state in Health:
            health.add_metric([provider.name, state.value], provider.health is state)
    yield health
    yield enabled
