"""Readiness checks of a web process."""

from __future__ import annotations

import asyncio
import time

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from chat.gateway.lifespan import can_record
from llmhub.operations.status import Database, check_database

CACHE_S = 1.0
"""How long a result is cached: readiness probes need no key."""


async def record_fault() -> str | None:
    return None if can_record() else "the database does not take the record of chats"


class DatabaseCheck:
    """Checks the database, one query at a time for all probes; caches that migrations are applied."""

    def __init__(self) -> None:
        self._is_migrated = False
        self._check: asyncio.Future[Database] | None = None
        self._checked_at_s = float("-inf")

    async def __call__(self) -> str | None:
        if await self._database() is not Database.READY:
            return "the database cannot be written to"
        if not self._is_migrated:
            self._is_migrated = await sync_to_async(_is_migrated, thread_sensitive=False)()
        return None if self._is_migrated else "migrations have not been applied: run `manage.py prepare`"

    async def _database(self) -> Database:
        loop = asyncio.get_running_loop()
        is_same_loop = self._check is not None and self._check.get_loop() is loop
        is_fresh = time.monotonic() - self._checked_at_s < CACHE_S
        if self._check is None or not is_same_loop or (self._check.done() and not is_fresh):
            self._checked_at_s = time.monotonic()
            self._check = asyncio.ensure_future(asyncio.to_thread(check_database))
        return await asyncio.shield(self._check)


def _is_migrated() -> bool:
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return False
    finally:
        connection.close()
