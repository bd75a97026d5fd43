"""Serving a chat in any dialect: who asks, what for, where it goes, and how every failure is answered."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from chat import metrics
from chat.api.dialects import Asked, Dialect, Facts
from chat.api.reading import BadRequestError, read_json, refuse_routing_fields
from chat.ids import uuid7
from chat.ledger import events
from chat.ledger.content import Content, make_content
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Caller
from chat.pipeline import ChatCall, ChatPipeline
from chat.wire import PING, dump
from llmhub.access.keys import presented_key
from llmhub.access.principals import KeyRefusedError, Principal, Scope, admit
from llmhub.access.sessions import session_principal
from providers.api.problems import ANSWERS, Answer, Problem, problem_of
from providers.manager import ProviderManager
from providers.routing import NotPermittedError
from providers.types import ChatChunk, ChatRequest, ChatResponse, JSONObject

EARLY_S = 15.0
"""How long a stream may stay silent before its headers are sent; what fails later is told in the stream."""


@dataclass(frozen=True, slots=True)
class BodyFault:
    """Why a body was not read. Units: `size_bytes` as declared, or as far as it was read."""

    status: int
    message: str
    size_bytes: int


class BodyTooLargeError(Exception):
    pass


class BodyTooSlowError(Exception):
    pass


class MediaTypeError(Exception):
    pass


SERVED: Mapping[type[Exception], Answer] = {
    **ANSWERS,
    BadRequestError: Answer(400, "invalid_request_error", should_retry=False),
    BodyTooLargeError: Answer(413, "invalid_request_error", "request_too_large", should_retry=False),
    BodyTooSlowError: Answer(408, "invalid_request_error", "request_timeout"),
    MediaTypeError: Answer(415, "invalid_request_error", "unsupported_media_type", should_retry=False),
    LedgerUnavailableError: Answer(503, "server_error", "record_unavailable"),
}


def served_problem(error: Exception) -> Problem:
    return problem_of(error, SERVED)


class EventStream(HttpResponseBase):
    """A response whose body is server-sent events, for the handler to send as they come."""

    streaming = True

    def __init__(self, frames: AsyncGenerator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(
            content_type="text/event-stream; charset=utf-8",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no", **headers},
        )
        self.frames = frames
        self.ping = PING


class ChatServer:
    """Answers the chat requests of one process."""

    def __init__(self, pipeline: ChatPipeline) -> None:
        self.pipeline = pipeline

    async def serve(self, request: ASGIRequest, dialect: Dialect) -> HttpResponseBase:
        """Return the answer to a chat request, whatever becomes of it."""
        call = _new_call(request, dialect)
        try:
            return await self._serve(request, dialect, call)
        except tuple(SERVED) as error:
            problem = served_problem(error)
            headers = {**_headers(call), **problem.headers}
            return json_response(dialect.error(problem), status=problem.status, headers=headers)

    async def _serve(self, request: ASGIRequest, dialect: Dialect, call: ChatCall) -> HttpResponseBase:
        try:
            principal = await authenticate(request, self.pipeline.manager)
            call.caller = _caller(request, principal)
            asked = _read(request, dialect)
            _fill(call, asked, request)
            plan = self.pipeline.manager.plan(
                provider=asked.provider, model_name=asked.request.model_name, may_use=principal.may_use
            )
        except tuple(SERVED) as error:
            await self._reject(call, error, request)
            raise
        rendering = _Rendering(dialect, call, wants_usage=asked.wants_usage)
        if asked.is_stream:
            chunks = self.pipeline.stream(call, plan, rendering.whole, served_problem)
            return await _begin(rendering.frames(chunks), call)
        answer_json = await self.pipeline.answer(call, plan, rendering.whole, served_problem)
        return whole_response(answer_json, headers=_headers(call, rendering.response))

    async def _reject(self, call: ChatCall, error: Exception, request: ASGIRequest) -> None:
        """Record a refused chat, unless nobody knows whose it was."""
        if isinstance(error, KeyRefusedError):
            if error.principal is None:
                metrics.REFUSALS.inc()
                return
            call.caller = _caller(request, error.principal)
        await self.pipeline.reject(call, served_problem(error))


class _Rendering:
    """One chat's answer in its dialect."""

    def __init__(self, dialect: Dialect, call: ChatCall, *, wants_usage: bool) -> None:
        self.response: ChatResponse | None = None
        self._dialect = dialect
        self._call = call
        self._facts = Facts(chat_id=call.chat_id, created_s=int(time.time()), wants_usage=wants_usage)

    def whole(self, response: ChatResponse) -> JSONObject:
        self.response = response
        return self._dialect.answer(response, self._current_facts(response))

    async def frames(self, chunks: AsyncGenerator[ChatChunk | ChatResponse]) -> AsyncGenerator[bytes]:
        """Render a stream; a failure after the first frame becomes its last.

        Errors: as the pipeline's, before the first frame.
        """
        has_begun = False
        try:
            async with aclosing(chunks):
                async for item in chunks:
                    for frame in self._frames(item):
                        has_begun = True
                        yield frame
        except tuple(SERVED) as error:
            if not has_begun:
                raise
            yield self._dialect.error_frame(served_problem(error))

    def _frames(self, item: ChatChunk | ChatResponse) -> Iterator[bytes]:
        if isinstance(item, ChatResponse):
            return self._dialect.last_frames(item, self._current_facts(item))
        self._facts.provider = self._call.journey.provider or ""
        self._facts.model_name = self._call.journey.model_name or ""
        return self._dialect.frame(item, self._facts)

    def _current_facts(self, response: ChatResponse) -> Facts:
        journey = self._call.journey
        self._facts.provider = journey.provider or ""
        self._facts.model_name = journey.model_name or ""
        self._facts.attempts = journey.attempts
        self._facts.cost_usd = journey.cost_usd(response.usage)
        self._facts.latency_ms = round(self._call.elapsed_s * 1000)
        return self._facts


async def _begin(frames: AsyncGenerator[bytes], call: ChatCall) -> EventStream:
    """Wait for the first frame, so that a failure until then has a status of its own; but not for ever."""
    first = asyncio.ensure_future(anext(frames))
    try:
        await asyncio.wait({first}, timeout=EARLY_S)
    except asyncio.CancelledError:
        first.cancel()
        await asyncio.wait({first})
        raise
    if first.done():
        first.result()
    return EventStream(_from(first, frames), _headers(call))


async def _from(first: asyncio.Future[bytes], frames: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the frame that is awaited already, then the others."""
    try:
        async with aclosing(frames):
            yield await first
            async for frame in frames:
                yield frame
    finally:
        first.cancel()


async def authenticate(request: ASGIRequest, manager: ProviderManager) -> Principal:
    """Return who calls, by API key or by the session of a signed-in user.

    Errors: KeyRefusedError; NotPermittedError without the scope to chat.
    """
    key = presented_key(request.headers.get("authorization"), request.headers.get("x-api-key"))
    if key is None and settings.SESSION_COOKIE_NAME in request.COOKIES:
        principal = await session_principal(request)
    else:
        principal = admit(key, manager.registry.snapshot().keys, now=timezone.now())
    if Scope.CHAT not in principal.scopes:
        raise NotPermittedError(f"This needs the scope {Scope.CHAT}.", code="missing_scope")
    return principal


def _read(request: ASGIRequest, dialect: Dialect) -> Asked:
    fault: BodyFault | None = request.body_fault  # type: ignore[attr-defined]  # set by the handler
    if fault is not None:
        raise (BodyTooLargeError if fault.status == 413 else BodyTooSlowError)(fault.message)
    if request.content_type not in ("application/json", ""):
        raise MediaTypeError(f"The body must be application/json, not {request.content_type}.")
    body = read_json(request.body)
    refuse_routing_fields(body)
    return dialect.read(body)


def _new_call(request: ASGIRequest, dialect: Dialect) -> ChatCall:
    return ChatCall(
        chat_id=uuid7(),
        started_s=time.monotonic(),
        caller=Caller(),
        asked=events.Asked(dialect=dialect.name, model_name=""),
        content=_content(request),
    )


def _content(request: ASGIRequest) -> Content:
    """What is kept of the body; of one that was not read, its size."""
    content = make_content(request.body)
    fault: BodyFault | None = request.body_fault  # type: ignore[attr-defined]  # set by the handler
    return replace(content, size_bytes=fault.size_bytes) if fault else content


def _caller(request: ASGIRequest, principal: Principal) -> Caller:
    return Caller(
        application=principal.application,
        api_key=principal.api_key,
        actor=principal.actor,
        end_user=request.headers.get("x-llmhub-user"),
        conversation=request.headers.get("x-llmhub-conversation"),
        address=request.META.get("REMOTE_ADDR"),
    )


def _fill(call: ChatCall, asked: Asked, request: ASGIRequest) -> None:
    """Note what was asked for, once it is understood."""
    call.request = asked.request
    call.failover = request.headers.get("x-llmhub-no-fallback") != "1"
    call.deadline_s = _deadline_s(request.headers.get("x-llmhub-timeout-s"))
    call.asked = events.Asked(
        dialect=call.asked.dialect,
        provider=asked.provider,
        model_name=asked.request.model_name,
        is_stream=asked.is_stream,
        params=sampling_params(asked.request),
        message_count=len(asked.request.messages),
        tool_count=len(asked.request.tools),
    )
    if call.caller.end_user is None and asked.request.user is not None:
        call.caller = replace(call.caller, end_user=asked.request.user)


def _deadline_s(header: str | None) -> float:
    if header is None:
        return float(settings.CHAT_DEADLINE_S)
    try:
        seconds = float(header)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise BadRequestError("`x-llmhub-timeout-s` must be a number of seconds above 0.", param="x-llmhub-timeout-s")
    return min(seconds, float(settings.CHAT_DEADLINE_S))


SAMPLING = (
    "temperature", "top_p", "top_k", "max_tokens", "seed", "presence_penalty", "frequency_penalty", "n",
    "parallel_tool_calls", "reasoning_effort",
)  # fmt: skip


def sampling_params(request: ChatRequest) -> dict[str, object]:
    """The parameters that the ledger names; of others only that they were there, as their values may be content."""
    found = {name: value for name in SAMPLING if (value := getattr(request, name)) is not None}
    if request.extra:
        found["others"] = ", ".join(sorted(request.extra))
    return found


def _headers(call: ChatCall, response: ChatResponse | None = None) -> dict[str, str]:
    journey = call.journey
    cost = Decimal(0) if not journey.candidate else journey.cost_usd(response.usage) if response else None
    headers = {
        "x-request-id": str(call.chat_id),
        "request-id": str(call.chat_id),
        "x-llmhub-provider": header_value(journey.provider or ""),
        "x-llmhub-model": header_value(journey.model_name or ""),
        "x-llmhub-attempts": str(journey.attempt_count),
        "x-llmhub-cost-usd": "unknown" if cost is None else f"{cost:f}",
        "x-llmhub-overhead-ms": f"{call.overhead_s * 1000:.2f}",
    }
    if call.dropped_params:
        headers["x-llmhub-dropped-params"] = header_value(",".join(call.dropped_params))
    return headers


def header_value(text: str) -> str:
    """Return text as a header can carry it: nothing of it ends the header."""
    return "".join(character if character.isascii() and character.isprintable() else "?" for character in text)


def json_response(body: JSONObject, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return whole_response(dump(body), status=status, headers=headers)


def whole_response(answer_json: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(answer_json, status=status, content_type="application/json", headers=headers)
