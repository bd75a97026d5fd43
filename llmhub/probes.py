"""What orchestrators and Prometheus ask a web process."""

from __future__ import annotations

import os

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from chat.process import can_record


class Readiness:
    """Whether this process should be sent requests. What was once migrated stays so while it runs."""

    def __init__(self) -> None:
        self.is_draining = False
        self._is_migrated = False

    async def faults(self) -> list[str]:
        """Return what is missing, in words."""
        if self.is_draining:
            return ["the process is stopping"]
        if not can_record():
            return ["the database does not take the record of chats"]
        if not self._is_migrated:
            self._is_migrated = await sync_to_async(_is_migrated, thread_sensitive=False)()
        return [] if self._is_migrated else ["migrations have not been applied: run `manage.py prepare`"]


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
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
