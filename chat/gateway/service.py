"""Serving a chat in any dialect, from the request to the last frame."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from traceback import clear_frames

from django.http.response import HttpResponseBase

from chat.dialects.base import Dialect, ParsedRequest
from chat.gateway import metrics
from chat.gateway.body_room import is_large
from chat.gateway.errors import SERVED, is_known, served_problem
from chat.gateway.exchange import Exchange, State
from chat.gateway.incoming import (
    authenticate,
    check_may_chat,
    check_may_name,
    check_media_type,
    identify,
    new_exchange,
    note_request,
    take_in,
    understand,
    weigh,
)
from chat.gateway.recorder import Recorder
from chat.gateway.rejections import Rejections
from chat.gateway.responses import chat_headers, json_response, whole_response
from chat.ledger.content import unread_content
from llmhub.access.principals import KeyRefusedError, Principal
from llmhub.http.event_stream import EventStream
from llmhub.http.handler import GatewayRequest
from llmhub.http.request_bodies import CallerGoneError
from llmhub.runtime.large_work import HUGE_BYTES, done_beside
from llmhub.runtime.memory_budget import MemoryBudget
from providers.error_table import ServedError
from providers.manager import ProviderManager
from providers.wire.rendering import PING

logger = logging.getLogger(__name__)

EARLY_S = 15.0
"""How long a stream may stay silent before its headers are sent; what fails later is told in the stream."""

MORE_ROOM_S = 10.0
"""How long a body that is there, and not huge, waits for the room that it takes beyond most."""


class ChatServer:
    """Answers the chat requests of one process."""

    def __init__(
        self, manager: ProviderManager, recorder: Recorder, memory: MemoryBudget, *, early_s: float = EARLY_S
    ) -> None:
        self.manager = manager
        self.recorder = recorder
        self.memory = memory
        self.rejections = Rejections(recorder)
        self.early_s = early_s
        self._streams: set[asyncio.Task[None]] = set()
        self._huge = asyncio.Lock()
        """Held by the one huge body that is being understood and recorded: it takes most memory then."""

    async def serve(self, request: GatewayRequest, dialect: Dialect) -> HttpResponseBase:
        """Return the answer to a chat request, whatever becomes of it.

        Errors: CallerGoneError, before anything is begun.
        """
        exchange = new_exchange(dialect, self.recorder)
        if self.recorder.tracer is not None:
            exchange.traceparent = request.headers.get("traceparent")
        try:
            await self._plan(request, exchange)
        except CallerGoneError:
            raise
        except Exception as error:
            if not is_known(error):
                logger.exception("A chat failed.")
            problem = served_problem(error)
            clear_frames(error.__traceback__)  # they hold the body, and each other until a collection
            return _error_response(exchange, problem)
        finally:
            if exchange.state is not State.PLANNED:
                exchange.let_go()
        request.client.when_interrupted(exchange.interrupt)
        return await (self._stream(exchange) if exchange.summary.is_stream else self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> HttpResponseBase:
        await exchange.answer(self.manager)
        if exchange.error is not None:
            return _error_response(exchange, exchange.error)
        return whole_response(exchange.answer_json, headers=chat_headers(exchange))

    async def _stream(self, exchange: Exchange) -> HttpResponseBase:
        """Wait for the first frame, so that a failure until then has a status of its own; but not for ever."""
        task = exchange.begin_stream(self.manager)
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        await exchange.until_begun(within_s=self.early_s)
        if exchange.error is not None and not exchange.outbox.has_sent:
            return _error_response(exchange, exchange.error)
        return EventStream(exchange, chat_headers(exchange), ping=PING)

    async def _plan(self, request: GatewayRequest, exchange: Exchange) -> None:
        """Read and understand the request, and decide where its chat may be tried; record it if it is refused.

        Errors: any of SERVED; CallerGoneError.
        """
        is_in_force = False
        try:
            principal = await authenticate(request)
            identify(exchange, request, principal)
            check_may_chat(principal)
            is_in_force = True
            check_media_type(request)
            parsed = await self._read(request, exchange, principal=principal)
            check_may_name(principal, parsed.request)
            note_request(exchange, request, parsed)
            exchange.plan = self.manager.plan(parsed.request, principal=principal, provider=parsed.provider)
        except tuple(SERVED) as error:
            await self._reject(exchange, error, request=request, is_in_force=is_in_force)
            raise
        exchange.enter(State.PLANNED)

    async def _read(self, request: GatewayRequest, exchange: Exchange, *, principal: Principal) -> ParsedRequest:
        """Read the body and understand it; what takes long for a large one is done beside the loop.

        Who has the turn waits for nothing else, least of all for room that those hold who wait for the turn.
        """
        exchange.memory = self.memory.holding(principal.name)
        body = await request.unread_body.read(exchange.memory)
        if not is_large(body):
            take_in(body, exchange)
            return understand(body, exchange.dialect)
        if len(body) > HUGE_BYTES:
            await self._huge.acquire()
            exchange.turn = self._huge.release
        beside = partial(done_beside, principal.name, size_bytes=len(body))
        wait_s = 0.0 if exchange.turn else MORE_ROOM_S
        await exchange.memory.take_when_free(await beside(partial(weigh, body, exchange)), timeout_s=wait_s)
        return await beside(partial(understand, body, exchange.dialect))

    async def _reject(
        self, exchange: Exchange, error: Exception, *, request: GatewayRequest, is_in_force: bool
    ) -> None:
        """Record a refused chat, unless nobody knows whose it was."""
        if isinstance(error, KeyRefusedError):
            if error.principal is None:
                metrics.REFUSALS.inc()
                return
            identify(exchange, request, error.principal)
        if exchange.content.body is None:
            exchange.content = unread_content(request.unread_body.size_bytes)
        await self.rejections.record(exchange, served_problem(error), is_in_force=is_in_force)

    async def stop(self) -> None:
        """Record what is under way, and what was counted only; the ledger must still be there."""
        if self._streams:
            await asyncio.wait(self._streams)
        await self.rejections.finish()
        await self.recorder.finish()


def _error_response(exchange: Exchange, error: ServedError) -> HttpResponseBase:
    headers = {**chat_headers(exchange), **error.headers}
    return json_response(exchange.dialect.error(error), status=error.status, headers=headers)
