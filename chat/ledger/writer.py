"""Append a process's entries to the ledger in batches: concurrent entries share one commit."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from chat.ledger import metrics
from chat.ledger.binary import (
    APPEND_BINARY,
    APPEND_ONE_BINARY,
    binary_parameters,
    parameters_of_one,
    register_binary,
)
from chat.ledger.entries import LedgerEntry, Receipt, WriterIdentity
from chat.ledger.errors import EntryRefusedError, LedgerUnavailableError, UnsureError
from chat.ledger.metrics import Lane

logger = logging.getLogger(__name__)

SESSION = (
    "SELECT set_config('application_name', %s, false), set_config('statement_timeout', %s, false), "
    "set_config('default_transaction_isolation', 'read committed', false)"
)
SEEN = "SELECT ledger_writer_seen(%s::uuid, %s::bytea, %s::text, %s::text, %s::integer)"

# An abandoned session may still run its last statement; until it ends, it is unknown what is stored.
FENCE = (
    "SELECT coalesce(bool_and(pg_terminate_backend(pid, 3000)), true) FROM pg_stat_activity "
    "WHERE application_name = %s AND pid <> pg_backend_pid()"
)
STILL_OPEN = "SELECT id FROM chat_chat WHERE id = ANY(%s) AND status IN ('started', 'lost')"

# SQLSTATE classes that one entry of a batch can cause: data, integrity, size.
_ENTRY_AT_FAULT = ("22", "23", "54")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterLimits:
    batch_entries: int = 500
    batch_bytes: int = 16 * 1024 * 1024
    queue_bytes: int = 256 * 1024 * 1024
    late_bytes: int = 64 * 1024 * 1024
    connect_timeout_s: int = 3
    statement_timeout_s: float = 4.0
    # The server's statement timeout comes first; this one covers a silent server or network.
    silence_timeout_s: float = 5.0
    heartbeat_s: float = 10.0
    first_retry_s: float = 0.1
    last_retry_s: float = 2.0


@dataclass(slots=True)
class _PendingEntry:
    entry: LedgerEntry
    receipt: asyncio.Future[Receipt]
    or_late: Callable[[], LedgerEntry] | None = None


class LedgerWriter:
    """Appends for one process on one event loop.

    While the database is known to be down, appends fail at once. One connection attempt at a time, with backoff,
    detects when it is back.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        role: str = "web",
        identity: WriterIdentity | None = None,
        lane: Lane = "small",
        limits: WriterLimits | None = None,
    ) -> None:
        self._identity = identity or WriterIdentity()
        self._conninfo = conninfo
        self._session_name = f"llmhub ledger {self.writer_id}"
        self._heartbeat_params = seen_parameters(self._identity, role=role)
        self._limits = limits or WriterLimits()
        self._metrics = metrics.of_lane(lane)
        self._queue: deque[_PendingEntry] = deque()
        self._queued_bytes = 0
        self._writing: Sequence[_PendingEntry] = ()
        self._uncertain_chats: set[UUID | None] = set()
        self._late: list[LedgerEntry] = []
        self._late_bytes = 0
        self._wake = asyncio.Event()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._is_up = False
        self._last_error = ""
        self._stopping = True
        self._task: asyncio.Task[None] | None = None

    @property
    def writer_id(self) -> UUID:
        return self._identity.writer_id

    @property
    def is_up(self) -> bool:
        """Whether the last attempt to reach the database succeeded."""
        return self._is_up

    def has_pending(self, chat_id: UUID | None) -> bool:
        """Whether an entry of a chat is queued, being written, or of unknown outcome."""
        if not (self._queue or self._writing or self._uncertain_chats):
            return False
        pending_ids = (pending.entry.chat_id for pending in (*self._writing, *self._queue))
        return chat_id is not None and (chat_id in self._uncertain_chats or chat_id in pending_ids)

    async def start(self) -> None:
        """Connect and begin to write; retry in the background until the database is reachable."""
        self._stopping = False
        self._metrics.down.set(1)
        await self._connect()
        self._task = asyncio.create_task(self._run(), name="ledger-writer")

    async def stop(self) -> None:
        """Write the queue, then close. Later appends fail."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None
        if self._late:
            logger.error("The ledger's database did not come back: %d entries are given up.", len(self._late))
            metrics.GIVEN_UP.labels("stopped").inc(len(self._late))
        self._disconnect()
        self._metrics.down.set(0)
        self._metrics.late_entries.set(0)

    async def append(self, entry: LedgerEntry, *, or_late: Callable[[], LedgerEntry] | None = None) -> Receipt:
        """Return once the entry is committed. It is written even if the caller no longer waits.

        Where it cannot be, what `or_late` returns is given to `append_when_up`, for the caller too who has gone.
        Errors: LedgerUnavailableError; its UnsureError when the database may have stored the entry; its
        EntryRefusedError when it is the entry that cannot be stored.
        """
        pending = _PendingEntry(entry, asyncio.get_running_loop().create_future(), or_late)
        if self._stopping or not self._is_up:
            self._reject_or_defer((pending,), LedgerUnavailableError("The ledger's database is not available."))
        elif self._queue and self._queued_bytes + entry.size_bytes > self._limits.queue_bytes:
            self._reject_or_defer(
                (pending,), LedgerUnavailableError("Too much is waiting to be written to the ledger.")
            )
        else:
            self._enqueue(pending)
            self._wake.set()
        return await pending.receipt

    def _enqueue(self, pending: _PendingEntry) -> None:
        self._queue.append(pending)
        self._queued_bytes += pending.entry.size_bytes

    def append_when_up(self, entry: LedgerEntry) -> None:
        """Queue a chat's outcome, which nobody awaits, until the database is back; lost if the process ends first.

        Entries sent before the database fell silent may or may not be stored. So the outcome is dropped if the chat
        is not in the database then, or already has its outcome.
        """
        if self._late_bytes + entry.size_bytes > self._limits.late_bytes:
            logger.error("Too much waits for the ledger's database: an entry of kind %s is given up.", entry.kind)
            metrics.GIVEN_UP.labels("too_many").inc()
            return
        self._late.append(entry)
        self._late_bytes += entry.size_bytes
        self._metrics.late_entries.set(len(self._late))
        self._wake.set()

    async def _queue_late(self) -> None:
        late, self._late = self._late, []
        self._late_bytes = 0
        try:
            rows = await self._execute(STILL_OPEN, ([entry.chat_id for entry in late],))
        except (psycopg.Error, OSError, TimeoutError) as error:
            self._fail([self._unawaited(entry) for entry in late], error)
            return
        still_open = {chat_id for (chat_id,) in rows}
        for entry in late:
            if entry.chat_id in still_open:
                self._enqueue(self._unawaited(entry))
        self._metrics.late_entries.set(len(self._late))

    def _unawaited(self, entry: LedgerEntry) -> _PendingEntry:
        receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        receipt.add_done_callback(_consume_result)
        return _PendingEntry(entry, receipt, lambda: entry)

    async def _run(self) -> None:
        while not self._stopping or self._queue or (self._late and self._is_up):
            if not self._is_up:
                await self._reconnect()
                continue
            if self._late:
                await self._queue_late()
            elif self._queue:
                self._writing = self._take_batch()
                await self._write(self._writing)
                self._writing = ()
            else:
                await self._idle()

    async def _idle(self) -> None:
        """Wait for work; send a heartbeat when none comes in time."""
        self._report_queue()
        if not await self._wait_for_work(self._limits.heartbeat_s):
            await self._send_heartbeat()

    def _take_batch(self) -> list[_PendingEntry]:
        self._report_queue()
        batch: list[_PendingEntry] = []
        taken_bytes = 0
        while self._queue and len(batch) < self._limits.batch_entries:
            size_bytes = self._queue[0].entry.size_bytes
            if batch and taken_bytes + size_bytes > self._limits.batch_bytes:
                break
            taken_bytes += size_bytes
            batch.append(self._queue.popleft())
        self._queued_bytes -= taken_bytes
        return batch

    def _report_queue(self) -> None:
        self._metrics.queued_entries.set(len(self._queue))
        self._metrics.queued_bytes.set(self._queued_bytes)

    async def _write(self, batch: Sequence[_PendingEntry]) -> None:
        """Commit a batch; if one of its entries cannot be stored, commit the others."""
        if not self._is_alive():
            await self._connect()
        began_s = time.monotonic()
        try:
            rows = await self._execute(*self._statement([pending.entry for pending in batch]))
        except asyncio.CancelledError as error:
            self._fail(batch, error)
            raise
        except Exception as error:  # whatever it is, it must reach those who wait
            await self._write_apart(batch, error)
        else:
            self._metrics.commit.observe(time.monotonic() - began_s)
            self._metrics.batch_entries.observe(len(batch))
            for pending, row in zip(batch, rows, strict=True):
                if not pending.receipt.done():
                    pending.receipt.set_result(Receipt(*row))

    def _statement(self, entries: Sequence[LedgerEntry]) -> tuple[str, tuple[Any, ...]]:
        if len(entries) == 1:
            return APPEND_ONE_BINARY, parameters_of_one(self._identity, entries[0])
        return APPEND_BINARY, binary_parameters(self._identity, entries)

    async def _write_apart(self, batch: Sequence[_PendingEntry], error: Exception) -> None:
        """Bisect a batch for the entry at fault, and write the others."""
        if not _is_entry_at_fault(error):
            self._fail(batch, error)
        elif len(batch) == 1:
            logger.error("The ledger refused an entry of kind %s: %s.", batch[0].entry.kind, _error_name(error))
            metrics.GIVEN_UP.labels("refused").inc()
            _reject(batch, EntryRefusedError("The ledger cannot store this entry."))
        else:
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])

    async def _execute(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Run one statement, which is one transaction.

        Errors: TimeoutError once the server has been silent too long, even if it answers later.
        """
        if self._connection is None:
            raise psycopg.OperationalError
        running = asyncio.create_task(_fetch(self._connection, query, parameters))
        finished, _ = await asyncio.wait({running}, timeout=self._limits.silence_timeout_s)
        if not finished:
            self._disconnect()
            running.cancel()
            running.add_done_callback(_consume_result)
            raise TimeoutError
        return running.result()

    async def _send_heartbeat(self) -> None:
        try:
            await self._execute(SEEN, self._heartbeat_params)
        except (psycopg.Error, OSError, TimeoutError) as error:
            self._fail((), error)

    async def _connect(self) -> None:
        """Reconnect, and check that the database accepts writes."""
        self._disconnect()
        try:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, connect_timeout=self._limits.connect_timeout_s
            )
            register_binary(self._connection.adapters)
            await self._execute(SESSION, (self._session_name, f"{self._limits.statement_timeout_s}s"))
            if await self._execute(FENCE, (self._session_name,)) != [(True,)]:
                raise TimeoutError  # the previous session still runs
            await self._execute(SEEN, self._heartbeat_params)
        except (psycopg.Error, OSError, TimeoutError) as error:
            self._fail((), error)
        else:
            if self._last_error:
                logger.warning("The ledger can be written again.")
            self._last_error = ""
            self._uncertain_chats.clear()
            self._is_up = True
            self._metrics.down.set(0)

    async def _reconnect(self) -> None:
        """Reconnect with exponential backoff until the database is back or the writer stops."""
        retry_s = self._limits.first_retry_s
        while not self._is_up and not self._stopping:
            await self._wait_for_work(retry_s)
            retry_s = min(retry_s * 2, self._limits.last_retry_s)
            await self._connect()

    async def _wait_for_work(self, timeout_s: float) -> bool:
        """Wait until woken or timed out; return whether woken."""
        self._wake.clear()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._wake.wait()
        except TimeoutError:
            return False

    def _is_alive(self) -> bool:
        """Whether the idle connection is intact: a server that went away has made the socket readable."""
        if self._connection is None or self._connection.closed:
            return False
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        return not poll.poll(0)

    def _fail(self, batch: Sequence[_PendingEntry], error: BaseException) -> None:
        """Mark the database as down, and reject every queued entry."""
        error_name = _error_name(error)
        if error_name != self._last_error:
            logger.error("The ledger cannot be written: %s.", error_name)
        self._last_error = error_name
        self._is_up = False
        self._disconnect()
        self._uncertain_chats.update(pending.entry.chat_id for pending in batch)
        unsent = tuple(self._queue)
        self._queue.clear()
        self._reject_or_defer(batch, UnsureError("The ledger's database does not say whether it stored the entry."))
        self._reject_or_defer(unsent, LedgerUnavailableError("The ledger's database is not available."))
        self._queued_bytes = 0
        self._report_queue()
        self._metrics.down.set(1)

    def _reject_or_defer(self, entries: Sequence[_PendingEntry], error: LedgerUnavailableError) -> None:
        for pending in entries:
            if pending.or_late is not None:
                self.append_when_up(pending.or_late())
        _reject(entries, error)

    def _disconnect(self) -> None:
        """Close the socket without a farewell, which an unresponsive server would block."""
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None


def seen_parameters(identity: WriterIdentity, *, role: str) -> tuple[Any, ...]:
    """Return the parameters of `SEEN` for this process."""
    return (identity.writer_id, identity.secret, role, socket.gethostname(), os.getpid())


async def _fetch(
    connection: psycopg.AsyncConnection[tuple[Any, ...]], query: str, parameters: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(query, parameters, prepare=True, binary=True)
    return await cursor.fetchall()


def _consume_result(running: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a future nobody awaits, so that asyncio does not log it."""
    if not running.cancelled():
        running.exception()


def _is_entry_at_fault(error: Exception) -> bool:
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return error.sqlstate.startswith(_ENTRY_AT_FAULT)
    return isinstance(error, psycopg.DataError | UnicodeError)


def _error_name(error: BaseException) -> str:
    """Name an error without its text, which may quote an entry."""
    sqlstate = getattr(error, "sqlstate", None)
    return f"{type(error).__name__} {sqlstate}" if sqlstate else type(error).__name__


def _reject(batch: Iterable[_PendingEntry], error: LedgerUnavailableError) -> None:
    for pending in batch:
        if not pending.receipt.done():
            pending.receipt.set_exception(error)
