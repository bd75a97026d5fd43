"""A proxy that only forwards, with the hub's own HTTP client: what a gateway on this transport costs at least."""

from __future__ import annotations

import os
from typing import Any

from providers.http import HttpCall, HttpClient, HttpReply
from providers.types import Timeouts
from tests.bench.upstream import read

FORWARDED = (b"authorization", b"content-type")
ANSWERED = ("content-type", "content-length")
TIMEOUTS = Timeouts()


class Proxy:
    def __init__(self, upstream_url: str) -> None:
        self._upstream_url = upstream_url
        self._client: HttpClient | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers = {name.decode(): value.decode() for name, value in scope["headers"] if name in FORWARDED}
        call = HttpCall(
            method=scope["method"],
            url=self._upstream_url + scope["path"],
            timeouts=TIMEOUTS,
            headers=headers,
            content=await read(receive),
        )
        async with await self._client.send(call) as reply:
            await forward(reply, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        async with HttpClient() as self._client:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def forward(reply: HttpReply, send: Any) -> None:
    """Send each piece as it came: of a stream, whatever one reading of the socket gave."""
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items() if name in ANSWERED]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    while piece := await reply.next_piece():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


application = Proxy(os.environ.get("BENCH_UPSTREAM", ""))
