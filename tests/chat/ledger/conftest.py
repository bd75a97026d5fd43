from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest_asyncio

from chat.ledger.writer import LedgerWriter, WriterLimits
from llmhub.runtime.database import conninfo

WAIT_S = 10.0


@dataclass(frozen=True)
class Database:
    """What the tests of the writer see of the database: connections of their own, outside Django."""

    connection: psycopg.AsyncConnection[Any]

    async def fetch(self, query: str, *parameters: Any) -> list[Any]:
        return await (await self.connection.execute(query, parameters)).fetchall()

    async def fetch_value(self, query: str, *parameters: Any) -> Any:
        return (await self.fetch(query, *parameters))[0][0]

    async def until(self, query: str, *parameters: Any) -> None:
        """Wait until a query's one value is true."""
        async with asyncio.timeout(WAIT_S):
            while not await self.fetch_value(query, *parameters):
                pass

    async def end_writer_connections(self) -> None:
        """End them as a restart of the server would, and wait until they are gone."""
        here = "datname = current_database() AND starts_with(application_name, 'llmhub ledger')"
        mine = f"FROM pg_stat_activity WHERE {here}"
        await self.fetch(f"SELECT pg_terminate_backend(pid) {mine}")
        await self.until(f"SELECT count(*) = 0 {mine}")

    @asynccontextmanager
    async def held_seat(self, writer: LedgerWriter) -> AsyncIterator[None]:
        """Keep the writer's statement waiting for its own seat."""
        async with (
            await psycopg.AsyncConnection.connect(conninfo()) as other,
            other.transaction(),
        ):
            await other.execute(
                "SELECT FROM ledger_ledgerwriterrecord WHERE writer_id = %s FOR UPDATE", (writer.writer_id,)
            )
            yield

    async def until_blocked(self) -> None:
        """Wait until the writer's statement has reached the lock."""
        await self.until(
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE starts_with(application_name, 'llmhub ledger') "
            "AND datname = current_database() AND wait_event_type = 'Lock'"
        )


@pytest_asyncio.fixture
async def database(django_db_setup: None) -> AsyncIterator[Database]:
    async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as connection:
        yield Database(connection)
        await connection.execute("DELETE FROM chat_chat")


NewWriter = Callable[..., Awaitable[LedgerWriter]]


@pytest_asyncio.fixture
async def new_writer(database: Database) -> AsyncIterator[NewWriter]:
    """Return a function that starts writers, given limits and changes to the connection; stop them at the end."""
    writers: list[LedgerWriter] = []

    async def start(*, limits: WriterLimits | None = None, **connection: Any) -> LedgerWriter:
        writers.append(LedgerWriter(conninfo(**connection), limits=limits))
        await writers[-1].start()
        return writers[-1]

    yield start
    for writer in writers:
        await writer.stop()


@pytest_asyncio.fixture
async def writer(new_writer: NewWriter) -> LedgerWriter:
    return await new_writer()
