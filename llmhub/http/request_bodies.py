"""Request bodies, read only after authentication and a memory reservation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from llmhub.runtime.memory_budget import Holding

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_S = 60.0
"""The timeout for sending a body, and for waiting for memory for it."""

ROOM_PER_BYTE = 3
"""The memory cost of a body during its chat: received, parsed and re-encoded."""

FIRST_ROOM_BYTES = 64 * 1024
"""The memory cost of each request beside its body; the minimum step for a body of undeclared size."""

CLOSE_AFTER_ANSWER = "llmhub.close_after_answer"
"""The server extension that discards further input, and closes the connection after the answer."""

IDLING = "llmhub.idling"
"""The server extension that marks unauthenticated requests as idle, so that they may be evicted."""


WHOLE = "llmhub.whole"
"""The server extension that tells whether the request was received completely."""


class BodyTooLargeError(Exception):
    pass


class BodyTooSlowError(Exception):
    pass


class CallerGoneError(Exception):
    """The caller disconnected before its request was complete."""


class RequestBody:
    """A body that is not read yet."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        *,
        max_bytes: int,
        body_s: float = BODY_S,
        when_whole: Callable[[], None] = lambda: None,
    ) -> None:
        self.declared_bytes = declared_bytes(scope)
        self.is_read = False
        self._scope = scope
        self._receive = receive
        self._max_bytes = max_bytes
        self._body_s = body_s
        self._when_whole = when_whole
        self._read_bytes = 0

    @property
    def size_bytes(self) -> int:
        """The size known so far."""
        return max(self.declared_bytes, self._read_bytes)

    async def read(self, holding: Holding) -> bytes:
        """Read the body; `holding` keeps its memory reserved.

        Errors: BodyTooLargeError, BodyTooSlowError, CallerGoneError, MemoryBudgetExceededError, LargerThanBudgetError.
        """
        if self.declared_bytes > self._max_bytes:
            raise BodyTooLargeError(_too_large(self._max_bytes))
        await holding.take_when_free(FIRST_ROOM_BYTES + ROOM_PER_BYTE * self.declared_bytes, timeout_s=self._body_s)
        if is_whole(self._scope):
            body = await self._read(holding)
        else:
            body = await self._read_in_time(holding)
        self.is_read = True
        self._when_whole()
        return body

    async def refuse_after(self, seconds: float) -> None:
        """Delay the answer to a request whose body is not read.

        Errors: CallerGoneError.
        """
        await delay_answer(self._scope, self._receive, seconds=seconds)

    async def _read_in_time(self, holding: Holding) -> bytes:
        try:
            async with asyncio.timeout(self._body_s):
                return await self._read(holding)
        except TimeoutError:
            raise BodyTooSlowError(f"The body did not arrive within {self._body_s:g} s.") from None

    async def _read(self, holding: Holding) -> bytes:
        message = await self._next()
        chunks = [message.get("body", b"")]
        while message.get("more_body", False):
            await self._reserve_more(holding)
            message = await self._next()
            chunks.append(message.get("body", b""))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise CallerGoneError
        self._read_bytes += len(message.get("body", b""))
        if self._read_bytes > self._max_bytes:
            raise BodyTooLargeError(_too_large(self._max_bytes))
        return message

    async def _reserve_more(self, holding: Holding) -> None:
        """Reserve memory for a body larger than declared: half as much again, to reserve seldom."""
        needed_bytes = ROOM_PER_BYTE * self._read_bytes
        if needed_bytes > holding.size_bytes:
            step_bytes = max(FIRST_ROOM_BYTES, needed_bytes // 2)
            await holding.take_when_free(needed_bytes - holding.size_bytes + step_bytes, timeout_s=self._body_s)


def _too_large(max_bytes: int) -> str:
    return f"The body is larger than {max_bytes} bytes (LLMHUB_MAX_BODY_MB)."


def declared_bytes(scope: Scope) -> int:
    """Return the declared Content-Length; 0 if undeclared."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:19])
    return 0


def has_body(scope: Scope) -> bool:
    return declared_bytes(scope) > 0 or any(name == b"transfer-encoding" for name, _ in scope["headers"])


def close_after_answer(scope: Mapping[str, Any]) -> None:
    """Discard the rest of a request, and close the connection after its answer."""
    if extension := (scope.get("extensions") or {}).get(CLOSE_AFTER_ANSWER):
        extension["now"]()


def is_whole(scope: Mapping[str, Any]) -> bool:
    """Whether a request is known to be received completely."""
    extension = (scope.get("extensions") or {}).get(WHOLE)
    return extension is not None and bool(extension["ask"]())


def mark_idle(scope: Mapping[str, Any], *, is_idling: bool) -> None:
    """Mark whether a request only waits, and may be evicted at the connection limit."""
    if extension := (scope.get("extensions") or {}).get(IDLING):
        extension["say"](is_idling)


async def delay_answer(scope: Mapping[str, Any], receive: Receive, *, seconds: float) -> None:
    """Delay the answer to a request that will not be read.

    Errors: CallerGoneError.
    """
    close_after_answer(scope)
    mark_idle(scope, is_idling=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            raise CallerGoneError
    mark_idle(scope, is_idling=False)
