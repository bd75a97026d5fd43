"""Liveness, readiness and metrics endpoints of a web process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

ReadinessCheck = Callable[[], Awaitable[str | None]]
"""Returns the fault as text, None if ready."""


class Readiness:
    """The readiness of this process."""

    def __init__(self) -> None:
        self.is_draining = False
        self.checks: tuple[ReadinessCheck, ...] = ()
        """Run in order, until one reports a fault."""

    def begin_to_drain(self) -> None:
        self.is_draining = True

    async def faults(self) -> list[str]:
        if self.is_draining:
            return ["the process is stopping"]
        for check in self.checks:
            if fault := await check():
                return [fault]
        return []


READINESS = Readiness()
LIVE_COLLECTORS: list[Collector] = []
"""Metrics read on scrape, which need no aggregation over processes."""


async def healthz(_request: ASGIRequest) -> HttpResponse:
    """Liveness: the process responds. Checks no dependency."""
    return JsonResponse({"status": "ok"})


async def readyz(_request: ASGIRequest) -> HttpResponse:
    faults = await READINESS.faults()
    if faults:
        return JsonResponse({"status": "not ready", "faults": faults}, status=503)
    return JsonResponse({"status": "ready"})


async def metrics(_request: ASGIRequest) -> HttpResponse:
    """Prometheus metrics of this process, or of all that share PROMETHEUS_MULTIPROC_DIR."""
    return HttpResponse(await asyncio.to_thread(render_metrics), content_type=CONTENT_TYPE_LATEST)


def render_metrics() -> bytes:
    registry = REGISTRY
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        drop_dead_gauges(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]  # untyped
    return generate_latest(registry) + generate_latest(live_registry())


def live_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in (BuildInfo(), *LIVE_COLLECTORS):
        registry.register(collector)
    return registry


class BuildInfo(Collector):
    def describe(self) -> Iterator[Metric]:
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("llmhub_build_info", "Always 1, with the version that runs.", labels=["version"])
        info.add_metric([settings.VERSION], 1)
        yield info


def drop_dead_gauges(folder: Path) -> None:
    """Delete the live gauges of processes that have exited; their counters stay."""
    for process_id in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another process deletes it concurrently
                mark_process_dead(process_id, folder)  # type: ignore[no-untyped-call]  # untyped
        except PermissionError:
            continue
