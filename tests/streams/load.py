"""A cheap client in a process of its own: asks for many streams, so many at a time, and reads each to its end."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

END = b"\r\n0\r\n\r\n"
STREAM_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Load:
    """What to ask of whom, how often."""

    url: str
    key: str
    model: str
    streams: int
    at_once: int

    def request(self) -> bytes:
        body = json.dumps(
            {"model": self.model, "stream": True, "messages": [{"role": "user", "content": "Who is there?"}]}
        )
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {urlsplit(self.url).netloc}\r\n"
            f"authorization: Bearer {self.key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


@dataclass
class Outcome:
    """How the streams went; `whole` are those that ended with their mark of the end."""

    whole: int = 0
    broken: int = 0
    seconds: float = 0.0


async def run(load: Load) -> Outcome:
    outcome, left, started_s = Outcome(), iter(range(load.streams)), time.monotonic()
    await asyncio.gather(*(_ask_in_turn(load, left, outcome) for _ in range(load.at_once)))
    outcome.seconds = time.monotonic() - started_s
    return outcome


async def _ask_in_turn(load: Load, left: Any, outcome: Outcome) -> None:
    """Ask over one connection until nothing is left to ask."""
    parts = urlsplit(load.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=STREAM_LIMIT_BYTES)
    for _ in left:
        writer.write(load.request())
        answer = await reader.readuntil(END)
        is_whole = answer.startswith(b"HTTP/1.1 200 ") and b"data: [DONE]\n\n" in answer
        outcome.whole += is_whole
        outcome.broken += not is_whole
    writer.close()
    await writer.wait_closed()


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(run(Load(**json.loads(sys.argv[1])))))))
