"""Callers that read as they please: sockets without a client's good manners."""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

ASK = [{"role": "user", "content": "Who is there?"}]
WITHIN_S = 10.0
SMALL_BUFFER_BYTES = 16 * 1024


class Caller:
    """One connection to the hub, with a small buffer of its own."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._key = key
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        self._socket.settimeout(WITHIN_S)
        self._socket.connect((parts.hostname, parts.port))

    def ask(self, *, path: str = "/v1/chat/completions", timeout_s: float = 600, **body: Any) -> None:
        content = json.dumps({"model": "up/m", "messages": ASK, "stream": True, **body}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self._key}\r\n"
            f"x-llmhub-timeout-s: {timeout_s}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + content)

    def read(self, size_bytes: int) -> bytes:
        return self._socket.recv(size_bytes)

    def read_until(self, mark: bytes) -> bytes:
        """Return what comes, up to a mark or the end."""
        found, searched = bytearray(), 0
        while found.find(mark, searched) < 0 and (piece := self._socket.recv(65536)):
            searched = max(0, len(found) - len(mark))
            found += piece
        return bytes(found)

    def is_silent(self, *, for_s: float) -> bool:
        """Whether nothing comes for a while."""
        readable, _, _ = select.select([self._socket], [], [], for_s)
        return not readable

    def reset(self) -> None:
        """Leave at once, without a word of farewell; once is enough."""
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()


@contextmanager
def calling(url: str, key: str, *, count: int = 1) -> Iterator[list[Caller]]:
    callers = [Caller(url, key) for _ in range(count)]
    try:
        yield callers
    finally:
        for caller in callers:
            caller.reset()


def body_of(answer: bytes) -> bytes:
    """Take the body out of its chunks."""
    _, _, rest = answer.partition(b"\r\n\r\n")
    found = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found, rest = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found


class Listening(httpx.SyncByteStream):
    """The wire between a client and the hub, and what was heard on it."""

    def __init__(self) -> None:
        self.heard = b""
        self.client = httpx.Client(transport=httpx.MockTransport(self._send))
        self._wire = httpx.HTTPTransport()

    def _send(self, request: httpx.Request) -> httpx.Response:
        response = self._wire.handle_request(request)
        self._answer = response.stream
        return httpx.Response(response.status_code, headers=response.headers, stream=self)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._answer:
            self.heard += piece
            yield piece

    def close(self) -> None:
        self._answer.close()
        self._wire.close()
