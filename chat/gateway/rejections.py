"""The record of refused chats: each as it comes, up to a bound; beyond it the first, and how many more there were."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field, replace

from chat.gateway import metrics
from chat.gateway.exchange import Exchange
from chat.gateway.recorder import Recorder, rejection_of
from chat.ledger.content import unread_content
from chat.ledger.errors import EntryRefusedError, LedgerUnavailableError
from chat.ledger.events import Caller, Rejection
from llmhub.runtime.uuid7 import uuid7
from providers.error_table import ServedError

logger = logging.getLogger(__name__)

MINUTE_S = 60.0
KEPT_ENTRIES = 600
KEPT_BYTES = 64 * 1024 * 1024
"""How many refusals of a key in force are recorded each minute, and how much of their bodies."""


@dataclass(slots=True)
class _Minute:
    """What one caller was refused within a minute.

    Shape: `entries` are the refusals recorded one by one, `repeated` the others: of each error the last one, which is
    recorded at the minute's end and stands for all of them.
    """

    entries: Counter[str] = field(default_factory=Counter)
    kept_bytes: int = 0
    repeated: dict[str, Rejection] = field(default_factory=dict)


class Rejections:
    """Records the refused chats of one process. Belongs to its event loop."""

    def __init__(self, recorder: Recorder, *, minute_s: float = MINUTE_S) -> None:
        self._recorder = recorder
        self._minute_s = minute_s
        self._minutes: dict[Caller, _Minute] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def record(self, exchange: Exchange, error: ServedError, *, is_in_force: bool) -> None:
        """Record a chat that no provider will be asked for, or count it: it gets the id of the entry that says so.

        Errors: LedgerUnavailableError.
        """
        minute = self._minute(_whose(exchange.caller))
        kind = error.code or error.type
        is_full = not is_in_force or minute.entries.total() >= KEPT_ENTRIES
        if is_full and minute.entries[kind]:
            self._count(minute, kind, exchange, error)
            return
        minute.entries[kind] += 1
        if minute.kept_bytes + exchange.content.size_bytes > KEPT_BYTES:
            exchange.content = unread_content(exchange.content.size_bytes)
        elif exchange.content.body is not None:
            minute.kept_bytes += exchange.content.size_bytes
        await self._recorder.reject(exchange, error)

    def _minute(self, caller: Caller) -> _Minute:
        if caller not in self._minutes:
            self._minutes[caller] = _Minute()
            asyncio.get_running_loop().call_later(self._minute_s, self._begin_end, caller)
        return self._minutes[caller]

    def _count(self, minute: _Minute, kind: str, exchange: Exchange, error: ServedError) -> None:
        before = minute.repeated.get(kind)
        exchange.chat_id = before.chat_id if before else uuid7()
        exchange.content = unread_content(exchange.content.size_bytes)
        minute.repeated[kind] = replace(rejection_of(exchange, error), repeats=before.repeats + 1 if before else 1)
        metrics.observe_rejected(dialect=exchange.summary.dialect, http_status=error.status)

    def _begin_end(self, caller: Caller) -> None:
        if minute := self._minutes.pop(caller, None):
            task = asyncio.create_task(self._end(caller, minute))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, caller: Caller, minute: _Minute) -> None:
        """Record what was only counted; what cannot be recorded now is counted on."""
        for kind, rejection in minute.repeated.items():
            try:
                await self._recorder.ledger.append(rejection.entry())
            except EntryRefusedError:  # as is one that is stored already, though the database did not say so
                _note_lost(rejection.repeats)
            except LedgerUnavailableError:
                later = self._minute(caller).repeated
                later[kind] = replace(
                    rejection, repeats=rejection.repeats + (later[kind].repeats if kind in later else 0)
                )

    async def finish(self) -> None:
        """Record at once what was counted so far."""
        for caller in list(self._minutes):
            self._begin_end(caller)
        await asyncio.gather(*self._ending)
        if lost := sum(
            rejection.repeats for minute in self._minutes.values() for rejection in minute.repeated.values()
        ):
            _note_lost(lost)


def _note_lost(repeats: int) -> None:
    logger.error("The number of %d refused chats could not be recorded.", repeats)


def _whose(caller: Caller) -> Caller:
    """Return who is refused, without what one caller may make up as many of as it likes."""
    return Caller(application=caller.application, api_key=caller.api_key, actor=caller.actor)
