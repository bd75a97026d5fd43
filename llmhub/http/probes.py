"""What orchestrators and Prometheus ask a web process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from chat.gateway.lifespan import can_record
from llmhub.operations.status import Database, ask_database
from providers.manager import get_provider_manager
from providers.metrics import ProviderStates

ASK_AGAIN_S = 1.0
"""For how long an answer of the database serves all who ask for the readiness: they need no key."""


class Readiness:
    """Whether this process should be sent requests. What was once migrated stays so while it runs."""

    def __init__(self) -> None:
        self.is_draining = False
        self._is_migrated = False
        self._asking: asyncio.Future[Database] | None = None
        self._asked_at_s = float("-inf")

    def begin_to_drain(self) -> None:
        self.is_draining = True

    async def faults(self) -> list[str]:
        """Return what is missing, in words."""
        if self.is_draining:
            return ["the process is stopping"]
        if not can_record():
            return ["the database does not take the record of chats"]
        if await self._database() is not Database.READY:
            return ["the database cannot be written to"]
        if not self._is_migrated:
            self._is_migrated = await sync_to_async(_is_migrated, thread_sensitive=False)()
        return [] if self._is_migrated else ["migrations have not been applied: run `manage.py prepare`"]

    async def _database(self) -> Database:
        """Ask the database, one question at a time for all."""
        loop = asyncio.get_running_loop()
        is_ours = self._asking is not None and self._asking.get_loop() is loop
        is_fresh = time.monotonic() - self._asked_at_s < ASK_AGAIN_S
        if self._asking is None or not is_ours or (self._asking.done() and not is_fresh):
            self._asked_at_s = time.monotonic()
            self._asking = asyncio.ensure_future(asyncio.to_thread(ask_database))
        return await asyncio.shield(self._asking)


READINESS = Readiness()


def _is_migrated() -> bool:
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return False
    finally:
        connection.close()


async def healthz(_request: ASGIRequest) -> HttpResponse:
    """Liveness: the process answers. Asks nobody else."""
    return JsonResponse({"status": "ok"})


async def readyz(_request: ASGIRequest) -> HttpResponse:
    faults = await READINESS.faults()
    if faults:
        return JsonResponse({"status": "not ready", "faults": faults}, status=503)
    return JsonResponse({"status": "ready"})


async def metrics(_request: ASGIRequest) -> HttpResponse:
    """Prometheus metrics of this process, or of all of them where they share PROMETHEUS_MULTIPROC_DIR."""
    return HttpResponse(await asyncio.to_thread(gathered), content_type=CONTENT_TYPE_LATEST)


def gathered() -> bytes:
    counted = REGISTRY
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        forget_the_dead(Path(folder))
        counted = CollectorRegistry()
        MultiProcessCollector(counted, folder)  # type: ignore[no-untyped-call]  # untyped
    return generate_latest(counted) + generate_latest(states())


def states() -> CollectorRegistry:
    """Return the metrics that are read when asked for, and so need not be gathered from other processes."""
    registry = CollectorRegistry()
    registry.register(ProviderStates(get_provider_manager().registry))
    registry.register(BuildInfo())
    return registry


class BuildInfo(Collector):
    def describe(self) -> Iterator[Metric]:
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("llmhub_build_info", "Always 1, with the version that runs.", labels=["version"])
        info.add_metric([settings.VERSION], 1)
        yield info


def forget_the_dead(folder: Path) -> None:
    """Take away what processes that have ended said of their present; what they counted stays."""
    for process_id in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another process does the same at this moment
                mark_process_dead(process_id, folder)  # type: ignore[no-untyped-call]  # untyped
        except PermissionError:
            continue
