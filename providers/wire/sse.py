"""The framing of streamed answers: server-sent events and lines of JSON, split at the byte level.

A line ends with LF, CRLF or CR and nothing else: U+2028 and U+0085 are legal inside JSON strings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from providers.errors import MalformedReplyError

MAX_FRAME_BYTES = 8 * 1024 * 1024
LINE_BYTES = 32
"""What a line of a frame takes besides its own bytes, which may be none."""

_BOM = b"\xef\xbb\xbf"


class LineSplitter:
    """Cuts a stream of bytes into lines, however the bytes come."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._after_cr = False
        self.is_amid = False
        """Whether what comes next belongs to what came last."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their ends; of many empty ones in a row, some.

        Errors: MalformedReplyError for a line of more than MAX_FRAME_BYTES.
        """
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        while b"\n\n\n" in data:
            data = data.replace(b"\n\n\n", b"\n\n")
        if b"\n" not in data:
            self._keep(data)
            return []
        *lines, rest = (bytes(self._rest) + data if self._rest else data).split(b"\n")
        self._rest.clear()
        self._keep(rest)
        return lines

    def _keep(self, data: bytes) -> None:
        self._rest += data
        self.is_amid = self._after_cr or bool(self._rest)
        if len(self._rest) > MAX_FRAME_BYTES:
            raise MalformedReplyError("The provider sent a line of more than 8 MiB.")

    def flush(self) -> bytes:
        """Return what came after the last line's end."""
        rest = bytes(self._rest)
        self._rest.clear()
        self.is_amid = self._after_cr
        return rest


class FrameParser(ABC):
    """Cuts a stream of bytes into the data of its frames."""

    def __init__(self) -> None:
        self._lines = LineSplitter()

    @abstractmethod
    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes.

        Errors: MalformedReplyError for a frame of more than MAX_FRAME_BYTES.
        """

    @abstractmethod
    def flush(self) -> list[bytes]:
        """Return a last frame that lacks its end."""


class SseParser(FrameParser):
    """Server-sent events, read as liberally as servers write them.

    Shape: JSON on lines of its own, without `data:`, counts as data: some servers report errors so. The names of
    events are passed over: every format's data say what they are.
    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation, 2026-11.
    """

    def __init__(self) -> None:
        super().__init__()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._is_bare = False
        self._is_first_line = True

    def feed(self, data: bytes) -> list[bytes]:
        if self._is_one_frame(data):
            return [data[6:-2]]
        frames: list[bytes] = []
        for line in self._lines.feed(data):
            self._take(line, frames)
        return frames

    def _is_one_frame(self, data: bytes) -> bool:
        """Tell what most pieces of a stream are: one line of data and its end, after which nothing is left over."""
        return (
            data.startswith(b"data: ")
            and data.endswith(b"\n\n")
            and data.count(b"\n") == 2
            and b"\r" not in data
            and not (self._is_first_line or self._data or self._lines.is_amid)
            and len(b"data: \n\n") < len(data) <= MAX_FRAME_BYTES
        )

    def flush(self) -> list[bytes]:
        frames: list[bytes] = []
        if rest := self._lines.flush():
            self._take(rest, frames)
        self._take(b"", frames)
        return frames

    def _take(self, line: bytes, frames: list[bytes]) -> None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            self._end_frame(frames)
        elif line.startswith(b"data:"):
            self._add(line[6:] if line[5:6] == b" " else line[5:])
        elif self._is_bare or line[0] in b"{[":
            self._is_bare = True
            self._add(line)

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._data_bytes += len(data) + LINE_BYTES
        if self._data_bytes > MAX_FRAME_BYTES:
            raise MalformedReplyError("The provider sent a frame of more than 8 MiB.")

    def _end_frame(self, frames: list[bytes]) -> None:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        if data:
            frames.append(data)
        self._data.clear()
        self._data_bytes = 0
        self._is_bare = False


class NdjsonParser(FrameParser):
    """One JSON value a line."""

    def feed(self, data: bytes) -> list[bytes]:
        return [line for line in self._lines.feed(data) if line.strip()]

    def flush(self) -> list[bytes]:
        rest = self._lines.flush()
        return [rest] if rest.strip() else []
