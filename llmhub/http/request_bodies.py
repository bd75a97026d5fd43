"""The body of a request, which nobody reads before it is known who sends it, and that there is room for it."""

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
"""How long a caller may take to send a body, and wait for room for it."""

ROOM_PER_BYTE = 3
"""What a body costs while its chat lasts: as it came, as it is understood, and as it is sent on."""

FIRST_ROOM_BYTES = 64 * 1024
"""What each request costs beside its body; and a body whose size is not declared is read in steps of this at least."""

HANG_UP = "llmhub.hang_up"
"""The server's extension that throws away what a caller still sends, and closes once the answer is sent."""

IDLING = "llmhub.idling"
"""The server's extension that is told of requests from nobody known which only wait: they make room for others."""


WHOLE = "llmhub.whole"
"""The server's extension that tells whether the request being answered has come to its end."""


class BodyTooLargeError(Exception):
    pass


class BodyTooSlowError(Exception):
    pass


class CallerGoneError(Exception):
    """The caller closed the connection before its request was whole."""


class RequestBody:
    """A body, still at its sender's."""

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
        """How large it is, as far as that is known."""
        return max(self.declared_bytes, self._read_bytes)

    async def read(self, holding: Holding) -> bytes:
        """Return the body; its room is held until that is given back.

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
        """Let the caller wait for the answer to a request that is not read.

        Errors: CallerGoneError.
        """
        await hold_up(self._scope, self._receive, seconds=seconds)

    async def _read_in_time(self, holding: Holding) -> bytes:
        try:
            async with asyncio.timeout(self._body_s):
                return await self._read(holding)
        except TimeoutError:
            raise BodyTooSlowError(f"The body did not arrive within {self._body_s:g} s.") from None

    async def _read(self, holding: Holding) -> bytes:
        message = await self._next()
        pieces = [message.get("body", b"")]
        while message.get("more_body", False):
            await self._make_room(holding)
            message = await self._next()
            pieces.append(message.get("body", b""))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise CallerGoneError
        self._read_bytes += len(message.get("body", b""))
        if self._read_bytes > self._max_bytes:
            raise BodyTooLargeError(_too_large(self._max_bytes))
        return message

    async def _make_room(self, holding: Holding) -> None:
        """Hold room for a body that is larger than was declared: half as much again, so that it is seldom asked for."""
        needed_bytes = ROOM_PER_BYTE * self._read_bytes
        if needed_bytes > holding.size_bytes:
            step_bytes = max(FIRST_ROOM_BYTES, needed_bytes // 2)
            await holding.take_when_free(needed_bytes - holding.size_bytes + step_bytes, timeout_s=self._body_s)


def _too_large(max_bytes: int) -> str:
    return f"The body is larger than {max_bytes} bytes (LLMHUB_MAX_BODY_MB)."


def declared_bytes(scope: Scope) -> int:
    """Return how large a request says its body is; 0 where it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:19])
    return 0


def has_body(scope: Scope) -> bool:
    return declared_bytes(scope) > 0 or any(name == b"transfer-encoding" for name, _ in scope["headers"])


def hang_up(scope: Mapping[str, Any]) -> None:
    """Read no more of a request that is about to be answered, and nothing after it."""
    if say := (scope.get("extensions") or {}).get(HANG_UP):
        say["now"]()


def is_whole(scope: Mapping[str, Any]) -> bool:
    """Whether a request is known to be there to its end, so that nobody waits for it."""
    ask = (scope.get("extensions") or {}).get(WHOLE)
    return ask is not None and bool(ask["ask"]())


def note_idling(scope: Mapping[str, Any], *, is_idling: bool) -> None:
    """Say whether a request only waits, and may be dropped where connections are few."""
    if say := (scope.get("extensions") or {}).get(IDLING):
        say["say"](is_idling)


async def hold_up(scope: Mapping[str, Any], receive: Receive, *, seconds: float) -> None:
    """Let a caller wait whose request will not be read.

    Errors: CallerGoneError.
    """
    hang_up(scope)
    note_idling(scope, is_idling=True)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            raise CallerGoneError
    note_idling(scope, is_idling=False)
