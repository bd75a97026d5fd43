"""A TCP proxy in front of PostgreSQL that can fall silent, altogether or in the server's direction alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from psycopg.conninfo import conninfo_to_dict


@dataclass
class Proxy:
    conninfo: str
    port: int = 0
    speaks: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await self.connect()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.relay(reader, upstream_writer, self.speaks))
                group.create_task(self.relay(upstream_reader, writer, self.speaks, self.answers))
        finally:
            upstream_writer.close()
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server = conninfo_to_dict(self.conninfo)
        host, port = str(server["host"]), server.get("port") or 5432
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *may_pass: asyncio.Event) -> None:
        while data := await reader.read(65536):
            for event in may_pass:
                await event.wait()
            writer.write(data)
        writer.close()


@asynccontextmanager
async def proxied(conninfo: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(conninfo)
    proxy.speaks.set()
    proxy.answers.set()
    served: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        served.add(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
