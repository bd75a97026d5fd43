"""Servers on loopback that say what a test has them say."""

import asyncio
from contextlib import asynccontextmanager


@asynccontextmanager
async def serving(answer, **options):
    """Serve each connection with `answer(head, writer)`; yields the port."""

    async def serve(reader, writer):
        try:
            await answer(await reader.readuntil(b"\r\n\r\n"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[1]


def saying(reply):
    async def say(head, writer):
        writer.write(reply)

    return say
