"""A connection on which every byte is the test's own."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

WITHIN_S = 15.0


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection to the hub."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=WITHIN_S)
        self._unread = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send each piece by itself, as far as the hub still takes any."""
        with suppress(ConnectionError):
            for piece in pieces:
                self._socket.sendall(piece)

    def wait(self, for_s: float) -> None:
        """Wait until something comes, but not for long."""
        select.select([self._socket], [], [], for_s)

    def reply(self) -> Reply | None:
        """Read one answer, none where the hub has closed."""
        try:
            while b"\r\n\r\n" not in self._unread:
                self._more()
            head, _, self._unread = self._unread.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return Reply(int(first.split(" ")[1]), headers, self._body(headers))
        except ConnectionError:
            return None

    def replies(self) -> list[Reply]:
        """Read answers until the hub closes."""
        return list(iter(self.reply, None))

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            return self._take(int(headers.get("content-length", "0")))
        found = b""
        while size := int(self._line(), 16):
            found += self._take(size)
            self._line()
        self._line()
        return found

    def _line(self) -> bytes:
        while b"\r\n" not in self._unread:
            self._more()
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line

    def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._more()
        taken, self._unread = self._unread[:size], self._unread[size:]
        return taken

    def _more(self) -> None:
        if not (piece := self._socket.recv(65536)):
            raise ConnectionError
        self._unread += piece
