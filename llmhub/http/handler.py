"""A lean ASGI handler for async views, for the chat path.

Django's own ASGI handler starts a thread for every request, and sends its signals there; a chat needs neither. The
views are plain async Django views, resolved through a URLconf of their own.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import Callable
from enum import Enum, auto
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

_SLASHES = re.compile("/{2,}")

PING_S = 15.0
"""How long a stream may be silent before a keepalive comment."""


class Interruption(Enum):
    """Why a request is over before it is answered."""

    CALLER_GONE = auto()
    STOPPING = auto()


class GatewayRequest(ASGIRequest):
    """A request whose body is unread, and whose client may disconnect before the answer."""

    unread_body: RequestBody
    client: Client


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
        """Call the view, which reads the body when it will, and send what it answers."""
        try:
            request = GatewayRequest(scope, io.BytesIO())
        except UnicodeDecodeError:
            close_after_answer(scope)
            await send_whole(_error_response(400, "The query string is not valid UTF-8."), send)
            return
        request.client = client = Client(receive)
        request.unread_body = RequestBody(
            scope, receive, max_bytes=self._max_body_bytes, body_s=self._body_s, when_whole=client.watch
        )
        response: HttpResponseBase | None = None
        try:
            response = await self._call_view(request)
            if not request.unread_body.is_read:
                close_after_answer(request.scope)
            await self._send(response, send)
        except CallerGoneError:
            pass
        except asyncio.CancelledError:
            if not client.is_gone:
                is_heard = client.interrupt(Interruption.STOPPING)
                await self._send_rest(response, send, is_heard=is_heard)
        finally:
            client.forget()
            if isinstance(response, EventStream):
                await response.source.aclose()

    async def _send(self, response: HttpResponseBase, send: Send) -> None:
        if not isinstance(response, EventStream):
            await send_whole(response, send)
            return
        await send(_start(response))
        async with _Keepalive(response, send, every_s=self._ping_s) as keepalive:
            while frames := await response.source.get():
                keepalive.reset()
                await send({"type": "http.response.body", "body": frames, "more_body": True})
        await send({"type": "http.response.body"})

    async def _send_rest(self, response: HttpResponseBase | None, send: Send, *, is_heard: bool) -> None:
        """Send how a stream ends that was told to stop; who has nothing yet is told that the hub stops."""
        if isinstance(response, EventStream) and is_heard:
            while frames := await response.source.get():
                await send({"type": "http.response.body", "body": frames, "more_body": True})
            await send({"type": "http.response.body"})
        elif response is None:
            await send_whole(_error_response(503, "The hub stops.", code="hub_stopping"), send)

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


class Client:
    """The client of a request; detects a disconnect before the answer."""

    def __init__(self, receive: Receive) -> None:
        self.is_gone = False
        self._receive = receive
        self._task: asyncio.Task[Any] | None = None
        self._interrupt: Callable[[Interruption], None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Listen, now that the request is whole: nothing but its leaving comes from this client."""
        self._task = asyncio.current_task()
        self._watcher = asyncio.create_task(self._listen())

    def when_interrupted(self, interrupt: Callable[[Interruption], None]) -> None:
        """Have this called in place of the request's task being cancelled."""
        self._interrupt = interrupt
        if self.is_gone:
            interrupt(Interruption.CALLER_GONE)

    def interrupt(self, interruption: Interruption) -> bool:
        """Tell who can be interrupted, and whether there is such a one."""
        if self._interrupt is None:
            return False
        self._interrupt(interruption)
        return True

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        if not self.interrupt(Interruption.CALLER_GONE) and self._task is not None:
            self._task.cancel()

    def forget(self) -> None:
        self._interrupt = None
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None  # it holds its frame, which holds this client


@lru_cache(maxsize=256)
def _resolve(urlconf: str, path: str) -> ResolverMatch:
    """Find the view of a path, also where a client doubled a slash, or added one at the end.

    Errors: Resolver404.
    """
    resolver = get_resolver(urlconf)
    try:
        return resolver.resolve(path)
    except Resolver404:
        plain_path = _SLASHES.sub("/", path).removesuffix("/")
        if plain_path == path:
            raise
        return resolver.resolve(plain_path)


def _error_response(status: int, message: str, *, code: str | None = None) -> HttpResponse:
    type_ = "not_found_error" if status == 404 else "invalid_request_error" if status < 500 else "server_error"
    return JsonResponse(error_body(message, type_=type_, code=code), status=status)


def _start(response: HttpResponseBase) -> Message:
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    return {"type": "http.response.start", "status": response.status_code, "headers": headers}


async def send_whole(response: HttpResponseBase, send: Send) -> None:
    assert isinstance(response, HttpResponse)
    response.setdefault("content-length", str(len(response.content)))
    await send(_start(response))
    await send({"type": "http.response.body", "body": response.content})


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
