"""What a web process needs before it should be sent requests."""

from __future__ import annotations

import asyncio
import time

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor

from chat.gateway.lifespan import can_record
from llmhub.operations.status import Database, ask_database

ASK_AGAIN_S = 1.0
"""For how long an answer of the database serves all who ask for the readiness: they need no key."""


async def record_fault() -> str | None:
    return None if can_record() else "the database does not take the record of chats"


class DatabaseCheck:
    """Asks the database, one question at a time for all. What was once migrated stays so while the process runs."""

    def __init__(self) -> None:
        self._is_migrated = False
        self._asking: asyncio.Future[Database] | None = None
        self._asked_at_s = float("-inf")

    async def __call__(self) -> str | None:
        if await self._database() is not Database.READY:
            return "the database cannot be written to"
        if not self._is_migrated:
            self._is_migrated = await sync_to_async(_is_migrated, thread_sensitive=False)()
        return None if self._is_migrated else "migrations have not been applied: run `manage.py prepare`"

    async def _database(self) -> Database:
        loop = asyncio.get_running_loop()
        is_ours = self._asking is not None and self._asking.get_loop() is loop
        is_fresh = time.monotonic() - self._asked_at_s < ASK_AGAIN_S
        if self._asking is None or not is_ours or (self._asking.done() and not is_fresh):
            self._asked_at_s = time.monotonic()
            self._asking = asyncio.ensure_future(asyncio.to_thread(ask_database))
        return await asyncio.shield(self._asking)


def _is_migrated() -> bool:
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return False
    finally:
        connection.close()
