"""The record of refused chats: each as it comes, up to a bound; beyond it the first, and how many more there were."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field, replace

from chat.gateway import metrics
from chat.gateway.pipeline import ChatCall, ChatPipeline, void_of
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

    def __init__(self, pipeline: ChatPipeline, *, minute_s: float = MINUTE_S) -> None:
        self._pipeline = pipeline
        self._minute_s = minute_s
        self._minutes: dict[Caller, _Minute] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def record(self, call: ChatCall, problem: ServedError, *, is_in_force: bool) -> None:
        """Record a chat that no provider will be asked for, or count it: it gets the id of the entry that says so.

        Errors: LedgerUnavailableError.
        """
        minute = self._minute(_whose(call.caller))
        error = problem.code or problem.type
        is_full = not is_in_force or minute.entries.total() >= KEPT_ENTRIES
        if is_full and minute.entries[error]:
            self._count(minute, error, call, problem)
            return
        minute.entries[error] += 1
        if minute.kept_bytes + call.content.size_bytes > KEPT_BYTES:
            call.content = unread_content(call.content.size_bytes)
        elif call.content.body is not None:
            minute.kept_bytes += call.content.size_bytes
        await self._pipeline.reject(call, problem)

    def _minute(self, caller: Caller) -> _Minute:
        if caller not in self._minutes:
            self._minutes[caller] = _Minute()
            asyncio.get_running_loop().call_later(self._minute_s, self._begin_end, caller)
        return self._minutes[caller]

    def _count(self, minute: _Minute, error: str, call: ChatCall, problem: ServedError) -> None:
        before = minute.repeated.get(error)
        call.chat_id = before.chat_id if before else uuid7()
        call.content = unread_content(call.content.size_bytes)
        minute.repeated[error] = replace(void_of(call, problem), repeats=before.repeats + 1 if before else 1)
        metrics.observe_rejected(dialect=call.asked.dialect, http_status=problem.status)

    def _begin_end(self, caller: Caller) -> None:
        if minute := self._minutes.pop(caller, None):
            task = asyncio.create_task(self._end(caller, minute))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, caller: Caller, minute: _Minute) -> None:
        """Record what was only counted; what cannot be recorded now is counted on."""
        for error, void in minute.repeated.items():
            try:
                await self._pipeline.ledger.append(void.entry())
            except EntryRefusedError:  # as is one that is stored already, though the database did not say so
                _note_lost(void.repeats)
            except LedgerUnavailableError:
                later = self._minute(caller).repeated
                later[error] = replace(void, repeats=void.repeats + (later[error].repeats if error in later else 0))

    async def finish(self) -> None:
        """Record at once what was counted so far."""
        for caller in list(self._minutes):
            self._begin_end(caller)
        await asyncio.gather(*self._ending)
        if lost := sum(void.repeats for minute in self._minutes.values() for void in minute.repeated.values()):
            _note_lost(lost)


def _note_lost(repeats: int) -> None:
    logger.error("The number of %d refused chats could not be recorded.", repeats)


def _whose(caller: Caller) -> Caller:
    """Return who is refused, without what one caller may make up as many of as it likes."""
    return Caller(application=caller.application, api_key=caller.api_key, actor=caller.actor)
