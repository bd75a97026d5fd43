"""A response of server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Protocol

from django.http.response import HttpResponseBase


class Frames(Protocol):
    """An asynchronous iterator with `aclose`."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def __anext__(self) -> Awaitable[bytes]: ...
    async def aclose(self) -> None: ...


class EventStream(HttpResponseBase):
    """A streaming response of server-sent events; the handler sends `ping` as a keepalive."""

    streaming = True

    def __init__(self, frames: Frames, headers: Mapping[str, str], *, ping: bytes) -> None:
        super().__init__(
            content_type="text/event-stream; charset=utf-8",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no", **headers},
        )
        self.frames = frames
        self.ping = ping
