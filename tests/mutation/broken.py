"""Functions of the hub, each with the one difference that breaks a promise; `mutants.py` names the promises.

They take the parameters of those that they replace.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
from aiohttp.abc import ResolveResult
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration, RunSQL
from django.db.migrations.state import ProjectState

from chat.gateway.exchange import Exchange, Reason
from llmhub.access import principals
from llmhub.access.principals import KeyEntry
from providers.attempts import AttemptLog
from providers.backends.base import MAX_MESSAGE_CHARS, BaseProvider
from providers.errors import ProviderError
from providers.http import HttpClient, _GuardedResolver
from providers.manager import AnswerStream, ProviderManager
from providers.resolution.plan import Candidate, Plan
from providers.types import ChatRequest, Delta

sound_answer_streamed = Exchange._answer_streamed
sound_open_stream = ProviderManager.open_stream
sound_refusal = principals._refusal

NEXT_SEQ = "SET last_seq = seat.last_seq + v_count,"
SKIPPING_SEQ = "SET last_seq = seat.last_seq + v_count + 1,"


async def ask_before_recording(self: Exchange, answering: Coroutine[Any, Any, None]) -> None:
    """Answer first, and record the intent afterwards."""
    self._task = asyncio.current_task()
    timer = asyncio.get_running_loop().call_later(self.deadline_s - self.elapsed_s, self.stop, Reason.DEADLINE)
    reason = Reason.WHOLE
    try:
        await answering
        await self.recorder.open(self)
        self._note_recorded()
    except asyncio.CancelledError:
        reason = self._stop_reason or Reason.STOPPING
    except Exception as error:
        reason = self._note_failure(error)
    finally:
        timer.cancel()
        answering.close()
        self._is_closing = True
        await self._end(reason)


async def end_before_recording(self: Exchange, manager: ProviderManager) -> None:
    """Hand on the end of the answer with the rest of it."""
    await sound_answer_streamed(self, manager)
    last_frames, self._last_frames = self._last_frames, b""
    await self.outbox.put(last_frames)


async def ask_another_in_mid_answer(
    self: ProviderManager,
    request: ChatRequest,
    *,
    plan: Plan | None = None,
    failover: bool = True,
    journey: AttemptLog | None = None,
) -> AnswerStream:
    """Return what all candidates answer, one after the other until one ends well."""
    return _RestartedStream(_answers_of(self, request, self._to_try(request, plan, failover=failover), journey))


class _RestartedStream(AnswerStream):
    def __init__(self, answers: AsyncGenerator[Sequence[Delta]]) -> None:
        self.dropped_params = ()
        self._answers = answers

    async def next(self) -> Sequence[Delta]:
        return await anext(self._answers, ())

    async def __aexit__(self, *_: object) -> None:
        await self._answers.aclose()


async def _answers_of(
    manager: ProviderManager, request: ChatRequest, candidates: Iterable[Candidate], journey: AttemptLog | None
) -> AsyncGenerator[Sequence[Delta]]:
    """Ask the next candidate whenever one fails."""
    failures: list[ProviderError] = []
    for candidate in candidates:
        try:
            async with await sound_open_stream(manager, request, plan=Plan((candidate,)), journey=journey) as stream:
                while deltas := await stream.next():
                    yield deltas
                return
        except ProviderError as error:
            failures.append(error)
            if not error.failover:
                break
    raise failures[-1]


def skip_a_number(
    self: Migration, project_state: ProjectState, schema_editor: BaseDatabaseSchemaEditor, collect_sql: bool = False
) -> ProjectState:
    """Make the ledger's functions so that they skip a number; SQL is replaced by its text, as it has no attribute."""
    for operation in self.operations:
        if isinstance(operation, RunSQL):
            operation.sql = operation.sql.replace(NEXT_SEQ, SKIPPING_SEQ)
    return Migration.apply(self, project_state, schema_editor, collect_sql)


def admit_revoked_keys(entry: KeyEntry, now: datetime) -> str:
    """Refuse as if no key had ever been revoked."""
    return sound_refusal(replace(entry, revoked_at=None), now)


def repeat_the_key(self: BaseProvider, text: str | None) -> str | None:
    """Shorten the text, and leave the key in it."""
    return text and text[:MAX_MESSAGE_CHARS]


async def connect_to_any_address(
    self: _GuardedResolver, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
) -> list[ResolveResult]:
    """Resolve without a look at what was found."""
    return await self._resolver.resolve(host, port, family)


async def follow_redirects(self: HttpClient, request: httpx.Request) -> httpx.Response:
    """Send through httpx's client, which follows."""
    client = httpx.AsyncClient(transport=self._transport, follow_redirects=True)
    return await client.send(request, stream=True)
