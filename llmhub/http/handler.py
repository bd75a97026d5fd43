"""A lean ASGI handler for async views, for the chat path.

Django's own ASGI handler starts a thread for every request, and sends its signals there; a chat needs neither. The
views are plain async Django views, resolved through a URLconf of their own.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver

from llmhub.http.error_envelope import error_body
from llmhub.http.event_stream import EventStream
from llmhub.http.request_bodies import (
    BODY_S,
    CallerGoneError,
    Message,
    Receive,
    RequestBody,
    Scope,
    Send,
    close_after_answer,
)

logger = logging.getLogger(__name__)

FINISH_S = 3.0
"""How long a cancelled request may take to clean up."""

PING_S = 15.0
"""How long a stream may be silent before a keepalive comment."""


class GatewayRequest(ASGIRequest):
    """A request whose body is unread, and whose caller may disconnect before the answer."""

    unread_body: RequestBody
    caller_gone: asyncio.Event


class GatewayHandler:
    """Serves the URLs of one URLconf."""

    def __init__(self, urlconf: str, *, max_body_bytes: int, body_s: float = BODY_S, ping_s: float = PING_S) -> None:
        self._urlconf = urlconf
        self._max_body_bytes = max_body_bytes
        self._body_s = body_s
        self._ping_s = ping_s
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(scope, receive, send)
        finally:
            self._tasks.discard(task)

    async def finish(self) -> None:
        """Wait up to `FINISH_S` for cancelled requests: what they still record needs the ledger."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FINISH_S)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the view, which reads the body itself; a disconnect after that cancels the view."""
        try:
            request = GatewayRequest(scope, io.BytesIO())
        except UnicodeDecodeError:
            close_after_answer(scope)
            await send_whole(_error_response(400, "The query string is not valid UTF-8."), send)
            return
        caller = _Caller(receive)
        request.caller_gone = caller.gone
        request.unread_body = RequestBody(
            scope, receive, max_bytes=self._max_body_bytes, body_s=self._body_s, when_whole=caller.watch
        )
        await caller.run_until_gone(self._respond(request, send))

    async def _respond(self, request: GatewayRequest, send: Send) -> None:
        try:
            response = await self._call_view(request)
        except CallerGoneError:
            return
        if not request.unread_body.is_read:
            close_after_answer(request.scope)
        if isinstance(response, EventStream):
            await _send_stream(response, send, ping_s=self._ping_s)
        else:
            await send_whole(response, send)

    async def _call_view(self, request: GatewayRequest) -> HttpResponseBase:
        try:
            match = _resolve(self._urlconf, request.path_info)
            request.resolver_match = match
            response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        except Resolver404:
            return _error_response(404, f"There is nothing at {request.path}.")
        except CallerGoneError:
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return _error_response(500, "The hub failed; see its log.")
        return response


class _Caller:
    """The caller of a request; detects a disconnect before the answer."""

    def __init__(self, receive: Receive) -> None:
        self.gone = asyncio.Event()
        self._receive = receive
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Watch for a disconnect, the only message that can follow a complete request."""
        self._watcher = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone.set()
        assert self._task is not None
        self._task.cancel()

    async def run_until_gone(self, work: Awaitable[None]) -> None:
        """Run the work of a request; cancel it and set `gone` when the caller disconnects."""
        assert self._task is not None
        try:
            await work
        except asyncio.CancelledError:
            if not self.gone.is_set() or self._task.uncancel():
                raise
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
                self._watcher = None  # it holds its frame, which holds this caller


@lru_cache(maxsize=256)
def _resolve(urlconf: str, path: str) -> ResolverMatch:
    """Errors: Resolver404."""
    return get_resolver(urlconf).resolve(path)


def _error_response(status: int, message: str) -> HttpResponse:
    type_ = "not_found_error" if status == 404 else "invalid_request_error" if status < 500 else "server_error"
    return JsonResponse(error_body(message, type_=type_), status=status)


def _start(response: HttpResponseBase) -> Message:
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


async def send_whole(response: HttpResponseBase, send: Send) -> None:
    assert isinstance(response, HttpResponse)
    response.setdefault("content-length", str(len(response.content)))
    await send(_start(response))
    await send({"type": "http.response.body", "body": response.content})


async def _send_stream(response: EventStream, send: Send, *, ping_s: float) -> None:
    async with aclosing(response.frames) as frames:
        await send(_start(response))
        async with _Keepalive(response, send, every_s=ping_s) as keepalive:
            async for frame in frames:
                keepalive.reset()
                await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body"})


class _Keepalive:
    """Sends keepalive comments in a silent stream, so that no proxy times it out."""

    def __init__(self, response: EventStream, send: Send, *, every_s: float) -> None:
        self._ping = response.ping
        self._send = send
        self._every_s = every_s
        self._now = asyncio.get_running_loop().time
        self._last_at = 0.0

    def reset(self) -> None:
        self._last_at = self._now()

    async def __aenter__(self) -> _Keepalive:
        self.reset()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        del self._task

    async def _run(self) -> None:
        while True:
            last_at = self._last_at
            await asyncio.sleep(last_at + self._every_s - self._now())
            if self._last_at == last_at:
                self.reset()
                await self._send({"type": "http.response.body", "body": self._ping, "more_body": True})
