"""One chat from end to end: record the intent, ask the provider, record the outcome, then answer whole."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar
from uuid import UUID

from chat.gateway import metrics
from chat.gateway.accumulator import MAX_ANSWER_BYTES, Assembly, estimated_usage
from chat.gateway.deadlines import until
from chat.ledger.content import Content, make_answer, unread_content
from chat.ledger.entries import LedgerEntry
from chat.ledger.errors import LedgerUnavailableError, UnsureError
from chat.ledger.events import Caller, Intent, Outcome, Rejection, RequestSummary
from chat.ledger.lanes import Ledger
from chat.ledger.models import ChatStatus
from llmhub.runtime.large_work import done_beside
from llmhub.runtime.memory_budget import UNBOUNDED, Holding
from providers.attempts import AttemptLog
from providers.error_table import ServedError, served_error
from providers.errors import AnswerTooLargeError, ProviderTimeoutError, TruncatedReplyError
from providers.http import STEP_BYTES
from providers.manager import ProviderManager
from providers.pricing import nano_usd
from providers.resolution.candidates import Plan
from providers.types import ChatChunk, ChatRequest, ChatResponse, JSONObject
from providers.wire.encoding import dump

logger = logging.getLogger(__name__)

Render = Callable[[ChatResponse], JSONObject]
ToProblem = Callable[[Exception], ServedError]
Answer = Callable[[], bytes]
"""Makes the JSON that is recorded as the answer."""

T = TypeVar("T")

STOPPING = ServedError(
    status=503, type="server_error", code="hub_stopping", message="The hub stopped before the answer was whole."
)
FAULT = served_error(Exception())

HELD_TIMES = 3
"""How often an answer is held while it is served: as it came, as it is rendered, as it is recorded."""


@dataclass(slots=True, kw_only=True)
class ChatCall:
    """One request for a chat: who asks, for what, and how far it has come.

    Shape: `memory` is what it holds of the process's memory, until it has ended; `turn` lets the next huge body have
    its turn, once this one is in the record.
    Units: `deadline_s` seconds for the whole chat; `started_s` in seconds of the monotonic clock.
    """

    chat_id: UUID
    started_s: float
    caller: Caller
    asked: RequestSummary
    content: Content
    request: ChatRequest | None = None
    failover: bool = True
    deadline_s: float = 600.0
    journey: AttemptLog = field(default_factory=AttemptLog)
    first_token_ms: int | None = None
    dropped_params: tuple[str, ...] = ()
    is_caller_gone: Callable[[], bool] = lambda: True
    memory: Holding = UNBOUNDED
    turn: Callable[[], None] | None = None
    traceparent: str | None = None
    large_bytes: int = 0
    """What was charged of a large answer, which is rendered and recorded beside the loop; 0 of a usual one."""

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    @property
    def overhead_s(self) -> float:
        """The time that was the hub's own and no provider's."""
        return max(0.0, self.elapsed_s - self.journey.upstream_s)

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

    def note_chunks(self, chunks: Sequence[ChatChunk]) -> None:
        """Keep what the first chunk, and the first with content, tell of a stream."""
        self.dropped_params = chunks[0].dropped_params or self.dropped_params
        if self.first_token_ms is None and any(chunk.has_content for chunk in chunks):
            self.first_token_ms = round(self.elapsed_s * 1000)


class Tracer(Protocol):
    """Is told of every chat once it has ended."""

    def trace(self, call: ChatCall, outcome: Outcome, response: ChatResponse | None) -> None: ...

    def trace_rejected(self, call: ChatCall, void: Rejection) -> None: ...

    def stop(self) -> None: ...


class ChatPipeline:
    """Serves chats of one process. Belongs to its event loop."""

    def __init__(self, manager: ProviderManager, ledger: Ledger, *, tracer: Tracer | None = None) -> None:
        self.manager = manager
        self.ledger = ledger
        self.tracer = tracer
        self._closing: set[asyncio.Task[None]] = set()

    async def finish(self) -> None:
        """Wait for the outcomes that are being recorded though nobody waits for them."""
        if self._closing:
            await asyncio.wait(self._closing)

    async def reject(self, call: ChatCall, problem: ServedError) -> None:
        """Record a chat that no provider will be asked for.

        Errors: LedgerUnavailableError.
        """
        void = void_of(call, problem)
        await self._record(void.entry())
        metrics.observe_rejected(dialect=call.asked.dialect, http_status=problem.status)
        if self.tracer is not None:
            self.tracer.trace_rejected(call, void)

    async def answer(self, call: ChatCall, plan: Plan, render: Render, to_problem: ToProblem) -> bytes:
        """Return the answer as rendered JSON, recorded.

        Errors: ProviderError; LedgerUnavailableError, before any provider is asked or after.
        """
        request = await self._open(call)
        try:
            async with asyncio.timeout(call.deadline_s - call.elapsed_s):
                response = await self.manager.chat(
                    request, plan=plan, failover=call.failover, journey=call.journey, charge=call.charge
                )
            call.dropped_params = response.dropped_params
            response = _with_usage(request, response)
            answer_json = await call.handled(lambda: dump(render(response)))
            if len(answer_json) > MAX_ANSWER_BYTES:
                raise AnswerTooLargeError(f"The answer is larger than {MAX_ANSWER_BYTES // 1024 // 1024} MiB.")
        except asyncio.CancelledError:
            await self._abandon(call)
            raise
        except Exception as raised:
            error = _named(raised, call)
            problem = to_problem(error)
            await self._close(call, ChatStatus.FAILED, answer=lambda: dump(problem.body), problem=problem)
            raise error from None
        await self._close(call, ChatStatus.SUCCEEDED, response=response, answer=lambda: answer_json)
        return answer_json

    async def stream(
        self, call: ChatCall, plan: Plan, render: Render, to_problem: ToProblem
    ) -> AsyncGenerator[list[ChatChunk] | ChatResponse]:
        """Yield the chunks of an answer, those that came together in one list, then, once it is recorded, the answer.

        What finishes the last choice that has begun is held back until another begins or the outcome is
        committed: nobody has the whole of an answer that is not in the record.
        Errors: as `answer`, before the first chunk or after it.
        """
        request = await self._open(call)
        assembly = Assembly()
        charged_bytes = 0
        try:
            pieces = self.manager.stream_pieces(request, plan=plan, failover=call.failover, journey=call.journey)
            async with aclosing(until(pieces, call.started_s + call.deadline_s)) as bounded:
                async for piece in bounded:
                    call.note_chunks(piece)
                    if free := assembly.take(piece):
                        yield free
                    assembly.check()
                    while assembly.held_bytes - charged_bytes > STEP_BYTES:
                        call.charge(STEP_BYTES)
                        charged_bytes += STEP_BYTES
            held = assembly.release()
            response = _with_usage(request, assembly.response())
            answer_json = await call.handled(lambda: dump(render(response)))
        except (asyncio.CancelledError, GeneratorExit):
            partial = _with_usage(request, assembly.response())
            await self._abandon(call, response=partial, answer=lambda: dump(render(partial)))
            raise
        except Exception as raised:
            error = _named(raised, call)
            problem = to_problem(error)
            partial = _with_usage(request, assembly.response())

            def told() -> bytes:
                return dump({**render(partial), **problem.body} if partial.choices else problem.body)

            await self._close(call, _broken(error, partial), response=partial, answer=told, problem=problem)
            raise error from None
        await self._close(call, ChatStatus.SUCCEEDED, response=response, answer=lambda: answer_json)
        if held:
            yield held
        yield response

    async def _open(self, call: ChatCall) -> ChatRequest:
        """Record the intent; from here on the chat must be closed."""
        assert call.request is not None
        call.journey.salt = call.content.salt
        intent = Intent(chat_id=call.chat_id, caller=call.caller, asked=call.asked, content=call.content)
        metrics.observe_begin(call.asked)
        try:
            await self._record(intent.entry())
        except asyncio.CancelledError:
            await self._abandon(call)
            raise
        except LedgerUnavailableError as error:
            metrics.observe_unbegun(call.asked)
            if isinstance(error, UnsureError):
                self.ledger.append_when_up(_unbegun(call).entry())
            raise
        call.content = unread_content(call.content.size_bytes)  # it is in the record, and need not be in memory
        call.end_turn()
        return call.request

    async def _abandon(
        self, call: ChatCall, *, response: ChatResponse | None = None, answer: Answer = lambda: b"null"
    ) -> None:
        """Record that the caller went away, or that the hub stops or failed; nobody is told where that fails."""
        status, problem = ChatStatus.CLIENT_DISCONNECTED, None
        if not call.is_caller_gone():
            status = ChatStatus.TRUNCATED if response and response.choices else ChatStatus.FAILED
            problem = STOPPING if _is_being_cancelled() else FAULT
        with suppress(LedgerUnavailableError):
            await self._close(call, status, response=response, answer=answer, problem=problem)

    async def _close(
        self,
        call: ChatCall,
        status: ChatStatus,
        *,
        response: ChatResponse | None = None,
        answer: Answer = lambda: b"null",
        problem: ServedError | None = None,
    ) -> None:
        """Record the outcome; that of a large answer even if its caller is cancelled meanwhile."""
        choice = response.choices[0] if response and response.choices else None
        usage = response.usage if response and choice else None
        is_whole = status is ChatStatus.SUCCEEDED
        outcome = Outcome(
            chat_id=call.chat_id,
            status=status,
            provider=call.journey.provider,
            model_name=call.journey.model_name,
            attempts=tuple(call.journey.attempts),
            dropped_params=call.dropped_params,
            usage=usage,
            cost_nano_usd=nano_usd(call.journey.cost_usd(usage)),
            finish_reason=choice.finish_reason if choice and is_whole else None,
            native_finish_reason=choice.native_finish_reason if choice and is_whole else None,
            error_type=problem.type if problem else None,
            error_code=problem.code if problem else None,
            http_status=problem.status if problem else 200 if is_whole else None,
            latency_ms=round(call.elapsed_s * 1000),
            first_token_ms=call.first_token_ms,
            overhead_us=round(call.overhead_s * 1_000_000),
        )
        metrics.observe(outcome, call.asked)
        if logger.isEnabledFor(logging.DEBUG):
            _log(outcome)
        if self.tracer is not None:
            self.tracer.trace(call, outcome, response)
        recording = self._record_outcome(call, outcome, answer)
        if not call.large_bytes:
            await recording
            return
        closing = asyncio.create_task(recording)
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def _record_outcome(self, call: ChatCall, outcome: Outcome, answer: Answer) -> None:
        outcome.content = await call.handled(lambda: make_answer(answer(), outcome.attempts))
        await self._record(outcome.entry(), or_late=lambda: _unrecorded(outcome).entry())

    async def _record(self, entry: LedgerEntry, *, or_late: Callable[[], LedgerEntry] | None = None) -> None:
        try:
            await self.ledger.append(entry, or_late=or_late)
        except LedgerUnavailableError:
            metrics.UNRECORDED.labels(entry.kind).inc()
            raise


def void_of(call: ChatCall, problem: ServedError) -> Rejection:
    return Rejection(
        chat_id=call.chat_id,
        caller=call.caller,
        asked=call.asked,
        content=call.content,
        error_type=problem.type,
        error_code=problem.code,
        http_status=problem.status,
    )


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _unbegun(call: ChatCall) -> Outcome:
    """Return how a chat ended whose intent was perhaps stored too late: no provider was asked."""
    return Outcome(
        chat_id=call.chat_id,
        status=ChatStatus.REJECTED,
        error_type="server_error",
        error_code="record_unavailable",
        http_status=503,
    )


def _log(outcome: Outcome) -> None:
    tries = ", ".join(f"{attempt.provider} {attempt.error_type or 'ok'}" for attempt in outcome.attempts)
    status, took_ms = outcome.status.value, outcome.latency_ms
    logger.debug("A chat ended: %s after %s ms; tried: %s.", status, took_ms, tries or "nobody")


def _unrecorded(outcome: Outcome) -> Outcome:
    """Return how a chat ended whose outcome could not be recorded in time: nobody got the whole of its answer."""
    if outcome.status is not ChatStatus.SUCCEEDED:
        return outcome
    return replace(
        outcome,
        status=ChatStatus.FAILED,
        finish_reason=None,
        native_finish_reason=None,
        error_type="server_error",
        error_code="record_unavailable",
        http_status=503,
    )


def _named(error: Exception, call: ChatCall) -> Exception:
    if isinstance(error, TimeoutError):
        return ProviderTimeoutError(
            f"There was no whole answer within {call.deadline_s:g} s.", provider=call.journey.provider or ""
        )
    return error


def _broken(error: Exception, partial: ChatResponse) -> ChatStatus:
    return ChatStatus.TRUNCATED if partial.choices or isinstance(error, TruncatedReplyError) else ChatStatus.FAILED


def _with_usage(request: ChatRequest, response: ChatResponse) -> ChatResponse:
    if response.usage is not None:
        return response
    return replace(response, usage=estimated_usage(request, response))
