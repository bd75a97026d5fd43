"""Server-sent events as a response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Protocol

from django.http.response import HttpResponseBase


class Frames(Protocol):
    """An asynchronous iterator to be closed."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    async def aclose(self) -> None: ...


class EventStream(HttpResponseBase):
    """A response whose body is server-sent events, for the handler to send as they come; `ping` is sent in silence."""

    streaming = True

    def __init__(self, frames: Frames, headers: Mapping[str, str], *, ping: bytes) -> None:
        super().__init__(
            content_type="text/event-stream; charset=utf-8",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no", **headers},
        )
        self.frames = frames
        self.ping = ping
