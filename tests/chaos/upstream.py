"""A provider that answers each prompt with the prompt's own marker, at the pace that the marker names."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any

from tests.chaos.promises import Hit

MODEL = "echo"
MARKER = re.compile(r"(whole|brief|long|endless)-[0-9a-f]{12}")
WHOLE_S = 0.03
PAUSE_S = {"brief": 0.008, "long": 0.08, "endless": 60.0}
PIECES = 12


class Upstream:
    """Speaks OpenAI's format on loopback. Belongs to its event loop."""

    def __init__(self) -> None:
        self.hits: list[Hit] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the hub went away, or was killed, or this server is closed
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        at_s = time.time()
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1]) if length else 0)
        found = MARKER.search(body.decode())
        if found is None:
            await _send_json(writer, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
            return
        self.hits.append(Hit(found[0], at_s))
        if json.loads(body).get("stream"):
            await _send_stream(writer, found[0], pause_s=PAUSE_S[found[1]])
        else:
            await asyncio.sleep(WHOLE_S)
            await _send_json(writer, _completion("chat.completion", message=_message(answer_to(found[0]))))


def answer_to(marker: str) -> str:
    return " ".join([f"This is for {marker}:", *(f"word{number}" for number in range(PIECES))])


def _message(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _completion(kind: str, *, finish_reason: str | None = "stop", **part: dict[str, str]) -> dict[str, Any]:
    choice = {"index": 0, **part, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
    return {"id": "echo-1", "object": kind, "created": 1790000000, "model": MODEL, "choices": [choice], "usage": usage}


def _chunks(marker: str) -> Iterator[bytes]:
    for word in re.findall(r"\S+ ?", answer_to(marker)):
        chunk = _completion("chat.completion.chunk", finish_reason=None, delta={"content": word})
        yield b"data: %b\n\n" % json.dumps(chunk | {"usage": None}).encode()
    yield b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(_completion("chat.completion.chunk", delta={})).encode()


async def _send_stream(writer: asyncio.StreamWriter, marker: str, *, pause_s: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for chunk in _chunks(marker):
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()
        await asyncio.sleep(pause_s)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _send_json(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content))
    writer.write(content)
    await writer.drain()
