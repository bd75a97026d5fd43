"""A proxy that only forwards, on the transport of the hub: what is left of a gateway that does nothing else."""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from tests.bench.upstream import read

FORWARDED = (b"authorization", b"content-type")
ANSWERED = (b"content-type", b"content-length")
TIMEOUT_S = 60.0


class Proxy:
    def __init__(self, upstream_url: str) -> None:
        self._upstream_url = upstream_url
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        async with self._client.stream(
            scope["method"],
            self._upstream_url + scope["path"],
            headers=[header for header in scope["headers"] if header[0] in FORWARDED],
            content=await read(receive),
        ) as reply:
            await forward(reply, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        async with new_client() as self._client:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def new_client() -> httpx.AsyncClient:
    def new_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    return httpx.AsyncClient(transport=AiohttpTransport(client=new_session), timeout=TIMEOUT_S, trust_env=False)


async def forward(reply: httpx.Response, send: Any) -> None:
    """Send each piece as it came: of a stream, whatever one reading of the socket gave."""
    headers = [(name.lower(), value) for name, value in reply.headers.raw if name.lower() in ANSWERED]
    await send({"type": "http.response.start", "status": reply.status_code, "headers": headers})
    async for piece in reply.aiter_raw():
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


application = Proxy(os.environ.get("BENCH_UPSTREAM", ""))
