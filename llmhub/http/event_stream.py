"""Server-sent events as a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from django.http.response import HttpResponseBase


class FrameSource(Protocol):
    """Where frames come from, for one reader."""

    async def get(self) -> bytes:
        """Return the next frames; empty at the end."""

    async def aclose(self) -> None:
        """Take no more of them."""


class EventStream(HttpResponseBase):
    """A response whose body is server-sent events, for the handler to send as they come; `ping` is sent in silence."""

    streaming = True

    def __init__(self, source: FrameSource, headers: Mapping[str, str], *, ping: bytes) -> None:
        super().__init__(
            content_type="text/event-stream; charset=utf-8",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no", **headers},
        )
        self.source = source
        self.ping = ping
