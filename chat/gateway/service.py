"""Serving a chat in any dialect, from the request to the last frame."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from functools import partial
from traceback import clear_frames
from typing import Self

from django.http.response import HttpResponseBase

from chat.dialects.base import Dialect, Facts, ParsedRequest
from chat.gateway import metrics
from chat.gateway.body_room import is_large
from chat.gateway.incoming import (
    authenticate,
    check_may_chat,
    check_may_name,
    check_media_type,
    identify,
    new_call,
    note_asked,
    take_in,
    understand,
    weigh,
)
from chat.gateway.pipeline import STOPPING, ChatCall, ChatPipeline
from chat.gateway.rejections import Rejections
from chat.gateway.responses import SERVED, chat_headers, json_response, served_problem, whole_response
from chat.ledger.content import unread_content
from llmhub.access.principals import KeyRefusedError, Principal
from llmhub.http.event_stream import EventStream
from llmhub.http.handler import GatewayRequest
from llmhub.http.request_bodies import CallerGoneError
from llmhub.runtime.large_work import HUGE_BYTES, done_beside
from llmhub.runtime.memory_budget import MemoryBudget
from providers.types import ChatChunk, ChatResponse, JSONObject
from providers.wire.encoding import PING

logger = logging.getLogger(__name__)

EARLY_S = 15.0
"""How long a stream may stay silent before its headers are sent; what fails later is told in the stream."""


MORE_ROOM_S = 10.0
"""How long a body that is there, and not huge, waits for the room that it takes beyond most."""


class ChatServer:
    """Answers the chat requests of one process."""

    def __init__(self, pipeline: ChatPipeline, memory: MemoryBudget, *, early_s: float = EARLY_S) -> None:
        self.pipeline = pipeline
        self.memory = memory
        self.refusals = Rejections(pipeline)
        self.early_s = early_s
        self._huge = asyncio.Lock()
        """Held by the one huge body that is being understood and recorded: it takes most memory then."""

    async def serve(self, request: GatewayRequest, dialect: Dialect) -> HttpResponseBase:
        """Return the answer to a chat request, whatever becomes of it.

        Errors: CallerGoneError, before anything is begun.
        """
        call = new_call(dialect)
        call.is_caller_gone = request.caller_gone.is_set
        if self.pipeline.tracer is not None:
            call.traceparent = request.headers.get("traceparent")
        goes_on = False
        try:
            response = await self._serve(request, dialect, call=call)
            goes_on = isinstance(response, EventStream)
            return response
        except asyncio.CancelledError:
            if not _goes_on(call):
                raise
            problem = STOPPING
        except CallerGoneError:
            raise
        except Exception as error:
            _log_fault(error)
            problem = served_problem(error)
            clear_frames(error.__traceback__)  # they hold the body, and each other until a collection
        finally:
            if not goes_on:
                call.let_go()
        headers = {**chat_headers(call), **problem.headers}
        return json_response(dialect.error(problem), status=problem.status, headers=headers)

    async def _serve(self, request: GatewayRequest, dialect: Dialect, *, call: ChatCall) -> HttpResponseBase:
        is_in_force = False
        try:
            principal = await authenticate(request)
            identify(call, request, principal)
            check_may_chat(principal)
            is_in_force = True
            check_media_type(request)
            parsed = await self._read(request, dialect, call=call, principal=principal)
            check_may_name(principal, parsed.request)
            note_asked(call, request, parsed)
            plan = self.pipeline.manager.plan(
                provider=parsed.provider, model_name=parsed.request.model_name, may_use=principal.may_use
            )
        except tuple(SERVED) as error:
            await self._reject(call, error, request=request, is_in_force=is_in_force)
            raise
        rendering = _Rendering(dialect, call, wants_usage=parsed.wants_usage)
        if parsed.is_stream:
            pieces = self.pipeline.stream(call, plan, rendering.whole, served_problem)
            return await _begin(rendering, rendering.frames(pieces), call, early_s=self.early_s)
        answer_json = await self.pipeline.answer(call, plan, rendering.whole, served_problem)
        return whole_response(answer_json, headers=chat_headers(call, rendering.response))

    async def _read(
        self, request: GatewayRequest, dialect: Dialect, *, call: ChatCall, principal: Principal
    ) -> ParsedRequest:
        """Read the body and understand it; what takes long for a large one is done beside the loop.

        Who has the turn waits for nothing else, least of all for room that those hold who wait for the turn.
        """
        call.memory = self.memory.holding(principal.name)
        body = await request.unread_body.read(call.memory)
        if not is_large(body):
            take_in(body, call)
            return understand(body, dialect)
        if len(body) > HUGE_BYTES:
            await self._huge.acquire()
            call.turn = self._huge.release
        beside = partial(done_beside, principal.name, size_bytes=len(body))
        wait_s = 0.0 if call.turn else MORE_ROOM_S
        await call.memory.take_when_free(await beside(partial(weigh, body, call)), timeout_s=wait_s)
        return await beside(partial(understand, body, dialect))

    async def _reject(self, call: ChatCall, error: Exception, *, request: GatewayRequest, is_in_force: bool) -> None:
        """Record a refused chat, unless nobody knows whose it was."""
        if isinstance(error, KeyRefusedError):
            if error.principal is None:
                metrics.REFUSALS.inc()
                return
            identify(call, request, error.principal)
        if call.content.body is None:
            call.content = unread_content(request.unread_body.size_bytes)
        await self.refusals.record(call, served_problem(error), is_in_force=is_in_force)

    async def stop(self) -> None:
        """Record what was counted only; the ledger must still be there."""
        await self.refusals.finish()


class _Rendering:
    """One chat's answer in its dialect."""

    def __init__(self, dialect: Dialect, call: ChatCall, *, wants_usage: bool) -> None:
        self.response: ChatResponse | None = None
        self.has_status = False
        """Whether a stream's status was sent: what fails from then on is told in the stream."""
        self._dialect = dialect
        self._call = call
        self._facts = Facts(chat_id=call.chat_id, created_s=int(time.time()), wants_usage=wants_usage)

    def whole(self, response: ChatResponse) -> JSONObject:
        self.response = response
        return self._dialect.answer(response, self._current_facts(response))

    async def frames(self, pieces: AsyncGenerator[list[ChatChunk] | ChatResponse]) -> AsyncGenerator[bytes]:
        """Render a stream, what came together as one; a failure after the first frame becomes its last.

        Errors: as the pipeline's, before the first frame and the status.
        """
        has_begun = False
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if not has_begun:
                        self._note_provider()
                    if frames := self._frames(piece):
                        has_begun = True
                        yield frames
        except asyncio.CancelledError:
            if not (has_begun or self.has_status) or not _goes_on(self._call):
                raise
            yield self._dialect.error_frame(STOPPING)
        except Exception as error:
            if not (has_begun or self.has_status):
                raise
            _log_fault(error)
            problem = served_problem(error)
            clear_frames(error.__traceback__)
            yield self._dialect.error_frame(problem)
        finally:
            self._call.let_go()

    def _frames(self, piece: list[ChatChunk] | ChatResponse) -> bytes:
        if isinstance(piece, ChatResponse):
            return self._dialect.last_frames(piece, self._current_facts(piece))
        return b"".join([self._dialect.frames(chunk, self._facts) for chunk in piece])

    def _note_provider(self) -> None:
        journey = self._call.journey
        self._facts.provider = journey.provider or ""
        self._facts.model_name = journey.model_name or ""

    def _current_facts(self, response: ChatResponse) -> Facts:
        journey = self._call.journey
        self._note_provider()
        self._facts.attempts = journey.attempts
        self._facts.cost_usd = journey.cost_usd(response.usage)
        self._facts.latency_ms = round(self._call.elapsed_s * 1000)
        return self._facts


async def _begin(
    rendering: _Rendering, frames: AsyncGenerator[bytes], call: ChatCall, *, early_s: float
) -> EventStream:
    """Wait for the first frame, so that a failure until then has a status of its own; but not for ever."""
    first = asyncio.ensure_future(anext(frames))
    first.add_done_callback(_note_failure)
    try:
        await asyncio.wait({first}, timeout=early_s)
    except asyncio.CancelledError:
        first.cancel()
        await asyncio.wait({first})
        await frames.aclose()  # the first frame may have come just now
        raise
    if first.done():
        first.result()
    rendering.has_status = True
    return EventStream(_Frames(first, frames), chat_headers(call), ping=PING)


def _note_failure(first: asyncio.Future[bytes]) -> None:
    """Take note of a failure that nobody may be left to hear of, so that asyncio does not log what it quotes."""
    if not first.cancelled():
        first.exception()


class _Frames:
    """The frames of a stream, of which the first is awaited already."""

    def __init__(self, first: asyncio.Future[bytes], others: AsyncGenerator[bytes]) -> None:
        self._first: asyncio.Future[bytes] | None = first
        self._others = others

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        first, self._first = self._first, None
        return first or anext(self._others)

    async def aclose(self) -> None:
        if self._first is not None:
            self._first.cancel()
            await asyncio.wait({self._first})
        await self._others.aclose()


def _goes_on(call: ChatCall) -> bool:
    """Undo a cancellation while the caller is still there: the hub stops, and there is time to say so."""
    task = asyncio.current_task()
    if call.is_caller_gone() or task is None:
        return False
    task.uncancel()
    return True


def _log_fault(error: Exception) -> None:
    if not isinstance(error, tuple(SERVED)):
        logger.error("A chat failed.", exc_info=error)
