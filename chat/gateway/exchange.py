"""One chat inside the hub, as a state machine: what may follow what, and what each end means, stand in two tables.

received → planned → recorded → answering → ended. Whatever happens, a chat that was planned is recorded as ended, by
the one `finally` of `Exchange._run`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from chat.dialects.base import Dialect, Facts
from chat.gateway.errors import is_known, served_problem
from chat.gateway.hold_back import HoldBack
from chat.gateway.outbox import Outbox
from chat.ledger.content import Content, unread_content
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Caller, RequestSummary
from chat.ledger.models import ChatStatus
from llmhub.http.handler import Interruption
from llmhub.runtime.large_work import done_beside
from llmhub.runtime.memory_budget import UNBOUNDED, Holding
from providers.attempts import AttemptLog
from providers.error_table import ServedError, served_error
from providers.errors import AnswerTooLargeError, ProviderTimeoutError, TruncatedReplyError
from providers.http import STEP_BYTES
from providers.manager import ProviderManager, is_content
from providers.resolution.plan import Plan
from providers.types import ChatRequest, ChatResponse, JSONObject
from providers.wire.accumulator import MAX_ANSWER_BYTES, Accumulator, with_usage
from providers.wire.rendering import dump_json

if TYPE_CHECKING:
    from chat.gateway.recorder import Recorder

logger = logging.getLogger(__name__)

T = TypeVar("T")

HELD_TIMES = 3
"""How often an answer is held while it is served: as it came, as it is rendered, as it is recorded."""


class State(Enum):
    RECEIVED = auto()
    PLANNED = auto()
    RECORDED = auto()
    ANSWERING = auto()
    ENDED = auto()


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.PLANNED, State.ENDED}),
    State.PLANNED: frozenset({State.RECORDED, State.ENDED}),
    State.RECORDED: frozenset({State.ANSWERING, State.ENDED}),
    State.ANSWERING: frozenset({State.ENDED}),
    State.ENDED: frozenset(),
}


class Reason(Enum):
    """Why an exchange ended."""

    WHOLE = auto()
    REFUSED = auto()
    FAILED = auto()
    CLIENT_GONE = auto()
    DEADLINE = auto()
    STOPPING = auto()
    FAULT = auto()


@dataclass(frozen=True, slots=True)
class Ending:
    """What an end means.

    Shape: `status` is that of a chat of whose answer nothing was handed on, `partial_status` where a part was; `error`
    is what the caller is told, None where the exception says it, or nobody is told anything.
    """

    status: ChatStatus
    partial_status: ChatStatus
    error: ServedError | None = None


STOPPING = ServedError(
    status=503, type="server_error", code="hub_stopping", message="The hub stopped before the answer was whole."
)
FAULT = served_error(Exception())
ENDINGS: Mapping[Reason, Ending] = {
    Reason.WHOLE: Ending(ChatStatus.SUCCEEDED, ChatStatus.SUCCEEDED),
    Reason.REFUSED: Ending(ChatStatus.REJECTED, ChatStatus.REJECTED),
    Reason.FAILED: Ending(ChatStatus.FAILED, ChatStatus.TRUNCATED),
    Reason.CLIENT_GONE: Ending(ChatStatus.CLIENT_DISCONNECTED, ChatStatus.CLIENT_DISCONNECTED),
    Reason.DEADLINE: Ending(ChatStatus.FAILED, ChatStatus.TRUNCATED),
    Reason.STOPPING: Ending(ChatStatus.FAILED, ChatStatus.TRUNCATED, STOPPING),
    Reason.FAULT: Ending(ChatStatus.FAILED, ChatStatus.TRUNCATED, FAULT),
}


class IllegalTransitionError(RuntimeError):
    """The hub's own code skipped a state."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One chat: who asks, for what, how far it has come, and how it ended.

    Shape: `memory` is what it holds of the process's memory, until it has ended; `turn` lets the next huge body have
    its turn, once this one is in the record.
    Units: `deadline_s` seconds for the whole chat; `started_s` in seconds of the monotonic clock.
    """

    chat_id: UUID
    started_s: float
    dialect: Dialect
    recorder: Recorder
    caller: Caller
    summary: RequestSummary
    content: Content
    request: ChatRequest | None = None
    plan: Plan | None = None
    failover: bool = True
    deadline_s: float = 600.0
    attempts: AttemptLog = field(default_factory=AttemptLog)
    first_token_ms: int | None = None
    dropped_params: tuple[str, ...] = ()
    memory: Holding = UNBOUNDED
    turn: Callable[[], None] | None = None
    traceparent: str | None = None
    large_bytes: int = 0
    """What was charged of a large answer, which is rendered and recorded beside the loop; 0 of a usual one."""
    state: State = State.RECEIVED
    reason: Reason | None = None
    error: ServedError | None = None
    """What the caller is told in place of the answer, or after a part of it."""
    response: ChatResponse | None = None
    """The answer, or as much of it as was handed on."""
    answer_json: bytes = field(default=b"", repr=False)
    outbox: Outbox = field(default_factory=Outbox, repr=False)
    facts: Facts = field(init=False)
    _last_frames: bytes = field(default=b"", repr=False)
    _stop_reason: Reason | None = None
    _is_closing: bool = False
    _is_cut_off: bool = False
    _task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.facts = Facts(chat_id=self.chat_id, created_s=int(time.time()))

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def overhead_s(self) -> float:
        """The time that was the hub's own and no provider's."""
        return max(0.0, self.elapsed_s - self.attempts.upstream_s)

    def enter(self, state: State) -> None:
        """Errors: IllegalTransitionError."""
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"A chat that is {self.state.name} cannot become {state.name}.")
        self.state = state

    def stop(self, reason: Reason) -> None:
        """End it for a reason from outside; the first counts, and none once the outcome is being recorded."""
        if self._stop_reason is None and not self._is_closing and self._task is not None:
            self._stop_reason = reason
            self._task.cancel()

    def interrupt(self, interruption: Interruption) -> None:
        self.stop(Reason.CLIENT_GONE if interruption is Interruption.CALLER_GONE else Reason.STOPPING)

    async def answer(self, manager: ProviderManager) -> None:
        """Answer as a whole, and end."""
        await self._run(self._answer_whole(manager))

    def begin_stream(self, manager: ProviderManager) -> asyncio.Task[None]:
        """Answer as a stream, in a task of its own: what comes is put into the outbox."""
        return asyncio.create_task(self._run(self._answer_streamed(manager)))

    async def until_begun(self, *, within_s: float) -> None:
        """Wait until a part of the stream is there, or its end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.outbox.ready.wait()

    async def get(self) -> bytes:
        """Return the next frames of a stream; empty at its end."""
        return await self.outbox.get()

    async def aclose(self) -> None:
        """End a stream whose caller takes no more of it, and wait until that is recorded."""
        self.stop(Reason.CLIENT_GONE)
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self, answering: Coroutine[Any, Any, None]) -> None:
        """Record the intent, answer, record the outcome: the way of every chat, whatever happens."""
        self._task = asyncio.current_task()
        timer = asyncio.get_running_loop().call_later(self.deadline_s - self.elapsed_s, self.stop, Reason.DEADLINE)
        reason = Reason.WHOLE
        try:
            await self.recorder.open(self)
            self._note_recorded()
            await answering
            if self._stop_reason is not None:
                await asyncio.sleep(0)  # the cancellation that nothing awaited yet
        except asyncio.CancelledError:
            reason = self._stop_reason or Reason.STOPPING
        except Exception as error:
            reason = self._note_failure(error)
        finally:
            timer.cancel()
            answering.close()
            self._is_closing = True
            await self._end(reason)

    def _note_recorded(self) -> None:
        self.enter(State.RECORDED)
        self.content = unread_content(self.content.size_bytes)  # it is in the record, and need not be in memory
        self.end_turn()
        self.enter(State.ANSWERING)

    def _note_failure(self, error: Exception) -> Reason:
        """Keep what callers are told of an error, and nothing of it: its frames hold the body, and each other."""
        self.error = served_problem(error)
        self._is_cut_off = isinstance(error, TruncatedReplyError)
        if not is_known(error):
            logger.error("A chat failed.", exc_info=error)
        clear_frames(error.__traceback__)
        if self.state is State.PLANNED:
            return Reason.REFUSED
        return Reason.FAILED if is_known(error) else Reason.FAULT

    async def _answer_whole(self, manager: ProviderManager) -> None:
        assert self.request is not None
        response = await manager.chat(
            self.request, plan=self.plan, failover=self.failover, journey=self.attempts, charge=self.charge
        )
        self.dropped_params = response.dropped_params
        response = with_usage(self.request, response)
        self.answer_json = await self.handled(lambda: dump_json(self._rendered(response)))
        if len(self.answer_json) > MAX_ANSWER_BYTES:
            raise AnswerTooLargeError(f"The answer is larger than {MAX_ANSWER_BYTES // 1024 // 1024} MiB.")
        self.response = response

    async def _answer_streamed(self, manager: ProviderManager) -> None:
        """Put the answer into the outbox as it comes, all but its end, which waits for the outcome's record."""
        assert self.request is not None
        accumulator, hold_back = Accumulator(), HoldBack()
        charged_bytes = 0
        try:
            async with await manager.open_stream(
                self.request, plan=self.plan, failover=self.failover, journey=self.attempts
            ) as stream:
                accumulator.dropped_params = self.dropped_params = stream.dropped_params
                self._note_provider()
                encoder = self.dialect.encoder(self.facts, self.request)
                while deltas := await stream.next():
                    if self.first_token_ms is None and any(is_content(delta) for delta in deltas):
                        self.first_token_ms = round(self.elapsed_s * 1000)
                    passed = hold_back.take(deltas)
                    free = accumulator.take(passed)
                    if free and (frames := encoder.encode(free)):
                        await self.outbox.put(frames)
                    if len(free) < len(passed):
                        accumulator.check()
                    while accumulator.held_bytes - charged_bytes > STEP_BYTES:
                        self.charge(STEP_BYTES)
                        charged_bytes += STEP_BYTES
            held = accumulator.take(hold_back.release())
            accumulator.check()
        finally:
            self.response = response = with_usage(self.request, accumulator.response())
        self.answer_json = await self.handled(lambda: dump_json(self._rendered(response)))
        self._last_frames = encoder.encode(held) + encoder.end(response)

    def _rendered(self, response: ChatResponse) -> JSONObject:
        """Return the answer in the caller's format, or as much of it as there is."""
        self._note_provider()
        self.facts.attempts = self.attempts.attempts
        self.facts.cost_usd = self.attempts.cost_usd(response.usage)
        self.facts.latency_ms = round(self.elapsed_s * 1000)
        assert self.request is not None
        return self.dialect.answer(response, self.facts, self.request)

    def _note_provider(self) -> None:
        self.facts.provider = self.attempts.provider or ""
        self.facts.model_name = self.attempts.model_name or ""

    async def _end(self, reason: Reason) -> None:
        """Record how it ended, and let those hear of it who still listen."""
        ending = ENDINGS[reason]
        if reason is Reason.DEADLINE:
            words = f"There was no whole answer within {self.deadline_s:g} s."
            self.error = served_problem(ProviderTimeoutError(words))
        self.error = self.error or ending.error
        is_partial = self._is_cut_off or (self.response is not None and bool(self.response.choices))
        try:
            if reason is not Reason.REFUSED:
                status = ending.partial_status if is_partial else ending.status
                await self.recorder.close(self, status, self._recorded_answer)
        except LedgerUnavailableError as unavailable:
            if reason in (Reason.WHOLE, Reason.FAILED, Reason.DEADLINE):
                reason, self.error = Reason.FAILED, served_problem(unavailable)
        finally:
            self.reason = reason
            self.enter(State.ENDED)
            self.let_go()
            self.outbox.close(self._last_frames if self.error is None else self.dialect.error_frame(self.error))

    def _recorded_answer(self) -> bytes:
        """Return what is recorded as the answer: what the caller was given of it, and the error it was told."""
        if self.error is None and self.answer_json:
            return self.answer_json
        part = self._rendered(self.response) if self.response and self.response.choices else None
        return dump_json(part if self.error is None else {**(part or {}), **self.dialect.error(self.error)})

    def charge(self, answer_bytes: int) -> None:
        """Hold so much more of an answer, which is large then; below zero, so much less.

        Errors: MemoryBudgetExceededError.
        """
        self.large_bytes += answer_bytes
        if answer_bytes < 0:
            self.memory.give_back(-HELD_TIMES * answer_bytes)
        else:
            self.memory.take(HELD_TIMES * answer_bytes)

    def end_turn(self) -> None:
        turn, self.turn = self.turn, None
        if turn is not None:
            turn()

    def let_go(self) -> None:
        """Give back what others wait for."""
        self.end_turn()
        self.memory.give_back()

    async def handled(self, work: Callable[[], T]) -> T:
        """Do what takes long for a large answer beside the loop."""
        if not self.large_bytes:
            return work()
        return await done_beside(self.memory.owner, work, size_bytes=self.large_bytes)
