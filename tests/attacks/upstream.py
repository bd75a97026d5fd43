"""Providers for an attack, each model a behaviour: a good one, and those that do what providers should not.

Runs as a process of its own, prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import Iterator

from tests.attacks.load import take_what_is_left

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"
JSON, STREAM = b"application/json", b"text/event-stream"
BLOCK_CHUNKS = 400
ENDLESS_BLOCKS = 8_000
"""About 400 MB: more than any hub should take."""


def chunk(text: str, *, index: int = 0) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(body).encode()


def completion(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    ).encode()


def endless() -> Iterator[bytes]:
    """A stream that goes on and on."""
    block = chunk("word ") * BLOCK_CHUNKS
    for _ in range(ENDLESS_BLOCKS):
        yield block


def choices() -> Iterator[bytes]:
    """A stream whose every chunk begins a choice of its own."""
    for start in range(0, 400_000, BLOCK_CHUNKS):
        yield b"".join(chunk("word ", index=index) for index in range(start, start + BLOCK_CHUNKS))


def line() -> Iterator[bytes]:
    """A line that does not end."""
    for _ in range(600):
        yield b"data: " + b"x" * 100_000


ECHO, WHOLE = completion("This is what was asked for."), completion("x" * 40_000_000)
STREAMS = {"endless": endless, "choices": choices, "line": line}
MODELS = ("echo", "whole", *STREAMS)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await answer(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not (length := re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)):
        await send(writer, json.dumps({"object": "list", "data": [{"id": name} for name in MODELS]}).encode())
        return
    body = await reader.readexactly(int(length[1]))
    asked = re.search(rb'"model": ?"(\w+)"', body)
    model = asked[1].decode() if asked else "echo"
    if model in STREAMS and b'"stream"' in body:
        await send_stream(writer, STREAMS[model]())
    else:
        await send(writer, WHOLE if model == "whole" else ECHO)


async def send(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(HEAD % JSON + b"content-length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def send_stream(writer: asyncio.StreamWriter, blocks: Iterator[bytes]) -> None:
    writer.write(HEAD % STREAM + b"transfer-encoding: chunked\r\n\r\n")
    for block in blocks:
        writer.write(b"%x\r\n%b\r\n" % (len(block), block))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def run() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "--slowly" in sys.argv:
        take_what_is_left()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    asyncio.run(run())
