"""The lean way from the server to an async view, for the paths that chats come by.

Django's own ASGI handler starts a thread for every request and sends its signals through it; a chat needs
neither. The views are plain async Django views, resolved through a URLconf of their own.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver

from chat.api.answers import EventStream
from chat.api.asking import BodyFault
from llmhub.access.errors import error_body

logger = logging.getLogger(__name__)

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_S = 60.0
"""How long a caller may take to send a body."""

FINISH_S = 3.0
"""How long a request that was cancelled may take to clean up."""

PING_S = 15.0
"""How long a stream may be silent before a comment is sent."""


class ClientGoneError(Exception):
    """The caller closed the connection before its request was whole."""


class GatewayHandler:
    """Serves the URLs of one URLconf."""

    def __init__(self, urlconf: str, *, max_body_bytes: int, body_s: float = BODY_S, ping_s: float = PING_S) -> None:
        self._urlconf = urlconf
        self._max_body_bytes = max_body_bytes
        self._body_s = body_s
        self._ping_s = ping_s
        self._under_way: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            await self._serve(scope, receive, send)
        finally:
            self._under_way.discard(task)

    async def finish(self) -> None:
        """Wait for requests that the server has cancelled: what they still record needs the ledger. Not for ever."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=FINISH_S)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body, fault = await self._read_body(scope, receive)
        except ClientGoneError:
            return
        try:
            request = ASGIRequest(scope, io.BytesIO(body))
        except UnicodeDecodeError:
            await send_whole(_refusal(400, "The query string is not valid UTF-8."), send)
            return
        request._body = body  # noqa: SLF001  (what `request.body` would read from the stream)
        request.body_fault = fault  # type: ignore[attr-defined]  # read by `chat.api.asking`
        gone = asyncio.Event()
        request.caller_gone = gone  # type: ignore[attr-defined]  # read by `chat.api.serving`
        await _until_gone(self._respond(request, send), receive, gone)

    async def _respond(self, request: ASGIRequest, send: Send) -> None:
        response = await self._call_view(request)
        if isinstance(response, EventStream):
            await _send_stream(response, send, ping_s=self._ping_s)
        else:
            await send_whole(response, send)

    async def _call_view(self, request: ASGIRequest) -> HttpResponseBase:
        try:
            match = _resolve(self._urlconf, request.path_info)
            request.resolver_match = match
            response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
        except Resolver404:
            return _refusal(404, f"There is nothing at {request.path}.")
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            return _refusal(500, "The hub failed; see its log.")
        return response

    async def _read_body(self, scope: Scope, receive: Receive) -> tuple[bytes, BodyFault | None]:
        """Return the body, or what is wrong with it as soon as that is known."""
        declared = declared_bytes(scope)
        if declared > self._max_body_bytes:
            return b"", BodyFault(413, f"The body of {declared} bytes is larger than {self._max_body_bytes}.", declared)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self._max_body_bytes:
                        return b"", BodyFault(413, f"The body is larger than {self._max_body_bytes} bytes.", size)
                    if not message.get("more_body", False):
                        return b"".join(parts), None
        except TimeoutError:
            return b"", BodyFault(408, f"The body did not arrive within {self._body_s:g} s.", size)


async def _until_gone(work: Awaitable[None], receive: Receive, gone: asyncio.Event) -> None:
    """Do the work of one request, and cancel it when the caller closes the connection, which is `gone` then."""
    task = asyncio.current_task()
    assert task is not None

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        task.cancel()

    watcher = asyncio.create_task(watch())
    try:
        await work
    except asyncio.CancelledError:
        if not gone.is_set() or task.uncancel():
            raise
    finally:
        watcher.cancel()


@lru_cache(maxsize=256)
def _resolve(urlconf: str, path: str) -> ResolverMatch:
    """Errors: Resolver404."""
    return get_resolver(urlconf).resolve(path)


def declared_bytes(scope: Scope) -> int:
    """Return how large a request says its body is; 0 where it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:19])
    return 0


def _refusal(status: int, message: str) -> HttpResponse:
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
        async with _Pings(response, send, every_s=ping_s) as pings:
            async for frame in frames:
                pings.put_off()
                await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body"})


class _Pings:
    """Sends a comment whenever nothing else was sent for a while, so that no proxy takes the stream for dead."""

    def __init__(self, response: EventStream, send: Send, *, every_s: float) -> None:
        self._ping = response.ping
        self._send = send
        self._every_s = every_s
        self._now = asyncio.get_running_loop().time
        self._last_at = 0.0

    def put_off(self) -> None:
        self._last_at = self._now()

    async def __aenter__(self) -> _Pings:
        self.put_off()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            last_at = self._last_at
            await asyncio.sleep(last_at + self._every_s - self._now())
            if self._last_at == last_at:
                self.put_off()
                await self._send({"type": "http.response.body", "body": self._ping, "more_body": True})
