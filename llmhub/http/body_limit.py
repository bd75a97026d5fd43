"""Limits on non-chat requests before Django reads them: size, timeout, memory, key guesses; and on answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django.http import JsonResponse

from llmhub.http.client_address import forwarded_address
from llmhub.http.connection_bounds import address_group
from llmhub.http.error_envelope import error_body
from llmhub.http.guesses import GUESSES
from llmhub.http.handler import send_whole
from llmhub.http.request_bodies import (
    BODY_S,
    Application,
    CallerGoneError,
    Message,
    Receive,
    Scope,
    Send,
    close_after_answer,
    declared_bytes,
    delay_answer,
    has_body,
    mark_idle,
)
from llmhub.runtime.large_work import LARGE_BYTES
from llmhub.runtime.memory_budget import MemoryBudget, MemoryBudgetExceededError

API = "/api/"

ANSWER_COPIES = 2
"""How many copies of a large answer are in memory while it is sent: the stored one and the sent one."""


class BodyLimit:
    """An ASGI middleware that forwards requests within limits and rejects others.

    Shape: `is_guess(authorization, x_api_key)` tells whether these headers carry an unknown key.
    """

    def __init__(
        self,
        application: Application,
        memory: MemoryBudget,
        is_guess: Callable[[str | None, str | None], bool],
        *,
        max_body_bytes: int,
        body_s: float = BODY_S,
    ) -> None:
        self._application = application
        self._memory = memory
        self._is_guess = is_guess
        self._max_body_bytes = max_body_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = _address(scope)
        if scope["path"].startswith(API) and self._has_unknown_key(scope) and (wait_s := GUESSES.note(address)):
            await _refuse_guess(scope, receive, send, wait_s=wait_s)
        elif not has_body(scope):
            await self._application(scope, receive, send)
        elif declared_bytes(scope) > self._max_body_bytes:
            await self._refuse_size(scope, send)
        else:
            with self._memory.holding(address_group(address)) as holding:
                try:
                    holding.take(declared_bytes(scope) or self._max_body_bytes)
                except MemoryBudgetExceededError as error:
                    await _refuse(scope, 503, str(error), code="hub_overloaded", send=send, type_="server_error")
                    return
                await self._forward(scope, receive, send)

    def _has_unknown_key(self, scope: Scope) -> bool:
        return self._is_guess(_header(scope, b"authorization"), _header(scope, b"x-api-key"))

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        size_bytes = 0
        is_whole = False
        deadline_s = asyncio.get_running_loop().time() + self._body_s
        mark_idle(scope, is_idling=True)

        async def receive_bounded() -> Message:
            nonlocal size_bytes, is_whole
            try:
                async with asyncio.timeout_at(None if is_whole else deadline_s):
                    message = await receive()
            except TimeoutError:
                await self._refuse_timeout(scope, send)
                return {"type": "http.disconnect"}
            is_whole = not message.get("more_body", False)
            mark_idle(scope, is_idling=not is_whole)
            size_bytes += len(message.get("body", b""))
            if size_bytes <= self._max_body_bytes:
                return message
            await self._refuse_size(scope, send)
            return {"type": "http.disconnect"}

        await self._application(scope, receive_bounded, send)

    async def _refuse_size(self, scope: Scope, send: Send) -> None:
        message = f"The body is larger than {self._max_body_bytes} bytes."
        await _refuse(scope, 413, message, code="request_too_large", send=send)

    async def _refuse_timeout(self, scope: Scope, send: Send) -> None:
        message = f"The body did not arrive within {self._body_s:g} s."
        await _refuse(scope, 408, message, code="request_timeout", send=send)


class AnswerLimit:
    """An ASGI middleware that reserves memory for answers until they are sent, and answers 503 without it."""

    def __init__(self, application: Application, memory: MemoryBudget) -> None:
        self._application = application
        self._memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_refused = False

        async def send_bounded(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start":
                try:
                    holding.take(_answer_bytes(message))
                except MemoryBudgetExceededError as error:
                    is_refused = True
                    await _refuse(scope, 503, str(error), code="hub_overloaded", send=send, type_="server_error")
            if not is_refused:
                await send(message)

        with self._memory.holding(address_group(_address(scope))) as holding:
            await self._application(scope, receive, send_bounded)


def _answer_bytes(start: Message) -> int:
    """Return the memory to reserve for an answer. Django capitalizes header names."""
    size_bytes = sum(int(value) for name, value in start["headers"] if name.lower() == b"content-length")
    return ANSWER_COPIES * size_bytes if size_bytes > LARGE_BYTES else 0


async def _refuse_guess(scope: Scope, receive: Receive, send: Send, *, wait_s: float) -> None:
    try:
        await delay_answer(scope, receive, seconds=wait_s)
    except CallerGoneError:
        return
    message = "This API key is not known here."
    await _refuse(scope, 401, message, code="invalid_api_key", send=send, type_="authentication_error")


async def _refuse(
    scope: Scope, status: int, message: str, *, code: str, send: Send, type_: str = "invalid_request_error"
) -> None:
    """Answer, and read no more of the request."""
    close_after_answer(scope)
    headers = {"retry-after": f"{MemoryBudgetExceededError.retry_after_s:g}"} if status == 503 else {}
    await send_whole(JsonResponse(error_body(message, type_=type_, code=code), status=status, headers=headers), send)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return forwarded_address(client[0] if client else "", ",".join(_headers(scope, b"x-forwarded-for")))


def _header(scope: Scope, name: bytes) -> str | None:
    """Return a header as Django does: repeated ones joined by commas."""
    return ",".join(_headers(scope, name)) or None


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin1") for header, value in scope["headers"] if header == name]
