"""A scripted fake provider: real HTTP on loopback, the six wire formats, and every fault that a test can ask for."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from providers.types import ProviderType
from tests.fake_formats import FORMATS, Format, Recorded, Script

CHUNKED = {"transfer-encoding": "chunked"}


class Signal(Enum):
    """What the fake does between two pieces of an answer."""

    CUT = auto()
    """Close the connection."""
    STALL = auto()
    """Say nothing until `FakeProvider.release` is called."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer to be sent. Shape: with `is_raw` the pieces stand for the whole HTTP reply."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: tuple[bytes | Signal, ...] = ()
    is_chunked: bool = False
    is_raw: bool = False
    before_head: Signal | None = None
    format: Format = field(default_factory=Format)

    def head(self) -> bytes:
        length = CHUNKED if self.is_chunked else {"content-length": str(sum(map(len, self.bodies())))}
        lines = [f"HTTP/1.1 {self.status} Scripted", *(f"{k}: {v}" for k, v in (length | self.headers).items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def bodies(self) -> list[bytes]:
        return [piece for piece in self.pieces if isinstance(piece, bytes)]

    def with_pieces(self, after: int, *more: bytes | Signal, keep_rest: bool = True) -> Answer:
        rest = self.pieces[after:] if keep_rest else ()
        return replace(self, pieces=(*self.pieces[:after], *more, *rest))


Fault = Callable[[Answer], Answer]


def status(code: int, message: str = "Scripted failure.", *, error_code: str | None = None, **headers: str) -> Fault:
    """Refuse with the format's own error body."""

    def refuse(answer: Answer) -> Answer:
        body = answer.format.error(code, message, error_code)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return json_answer(answer.format, body, status=code, headers=named)

    return refuse


def body(content: bytes, *, status: int = 200, **headers: str) -> Fault:
    """Answer with exactly this content."""
    named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda answer: replace(answer, status=status, headers=named, pieces=(content,), is_chunked=False)


def pieces(*sent: bytes | Signal) -> Fault:
    """Answer with exactly these pieces, chunked."""
    return lambda answer: replace(answer, pieces=sent, is_chunked=True)


def cut_before_headers() -> Fault:
    return lambda answer: replace(answer, before_head=Signal.CUT)


def cut_after_headers() -> Fault:
    return cut_after(0)


def cut_after(count: int) -> Fault:
    """Close the connection after `count` pieces of the body."""
    return lambda answer: replace(answer, is_chunked=True).with_pieces(count, Signal.CUT, keep_rest=False)


def end_after(count: int) -> Fault:
    """End the body cleanly after `count` pieces, without the mark of the end."""
    return lambda answer: replace(answer, is_chunked=True).with_pieces(count, keep_rest=False)


def stall_after(count: int) -> Fault:
    return lambda answer: replace(answer, is_chunked=True).with_pieces(count, Signal.STALL)


def slow_first_token() -> Fault:
    return stall_after(0)


def stall_before_headers() -> Fault:
    return lambda answer: replace(answer, before_head=Signal.STALL)


def bad_line_after(count: int) -> Fault:
    return lambda answer: answer.with_pieces(count, answer.format.bad_frame())


def error_frame_after(count: int, message: str = "Scripted failure.") -> Fault:
    return lambda answer: answer.with_pieces(count, answer.format.error_frame(message), keep_rest=False)


def error_in_200(message: str = "Scripted failure.") -> Fault:
    return lambda answer: json_answer(answer.format, answer.format.error(500, message))


def frames_after_the_end() -> Fault:
    return lambda answer: answer.with_pieces(len(answer.pieces), answer.format.bad_frame(), *answer.bodies()[:2])


def wrong_content_type(kind: str = "text/html") -> Fault:
    page = b"<!doctype html>\n<title>Welcome</title>\n"
    return lambda answer: replace(answer, headers={"content-type": kind}, pieces=(page,), is_chunked=False)


def garbage() -> Fault:
    """Lines that look like the format's frames and are not."""
    return lambda answer: answer.with_pieces(0, *[answer.format.bad_frame()] * 3, keep_rest=False)


def not_http() -> Fault:
    return lambda answer: replace(
        answer, is_raw=True, is_chunked=False, pieces=(b"SSH-2.0-OpenSSH_9.7\r\n\r\n", Signal.CUT)
    )


def redirect(location: str) -> Fault:
    return lambda answer: replace(answer, status=307, headers={"location": location}, pieces=(), is_chunked=False)


def gzip_bomb(size_bytes: int = 16 * 1024 * 1024) -> Fault:
    return body(gzip.compress(b" " * size_bytes, 1), content_encoding="gzip")


def gigantic_line(size_bytes: int = 9 * 1024 * 1024) -> Fault:
    piece = b"data: " + b"x" * (256 * 1024)
    return lambda answer: replace(answer, pieces=(piece,) * (size_bytes // len(piece)), is_chunked=True)


def empty_stream() -> Fault:
    return end_after(0)


def json_answer(form: Format, content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    named = {"content-type": "application/json"} | (headers or {})
    return Answer(status=status, headers=named, pieces=(json.dumps(content).encode(),), format=form)


class FakeProvider:
    """A provider of one type on a port of its own, served by a thread of its own.

    `faults` are used up by the chats as these come; `always` is applied to every chat; `probe_faults` to the
    model list and the probe. `hung_up` is set when the client closes a connection in the middle of an answer,
    `stalled` when an answer reaches a stall. It writes no faster than it is read; `sent_bytes` counts the bodies.
    """

    def __init__(self, provider_type: ProviderType | str, *, api_key: str = "", **script: Any) -> None:
        self.format = FORMATS[ProviderType(provider_type)]
        self.api_key = api_key
        self.script = Script(**script)
        self.requests: list[Recorded] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.probe_faults: deque[Fault] = deque()
        self.hung_up = threading.Event()
        self.stalled = threading.Event()
        self.connections = 0
        self.sent_bytes = 0
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake provider", daemon=True)
        self._open: set[_Connection] = set()

    @property
    def url(self) -> str:
        """The base URL of a provider of this type."""
        return f"http://127.0.0.1:{self.port}{self.format.base_path}"

    @property
    def chats(self) -> list[Recorded]:
        return [request for request in self.requests if self.format.is_chat(request)]

    def fail(self, *faults: Fault) -> None:
        """Let the next chats meet these faults, one each."""
        self.faults.extend(faults)

    def release(self) -> None:
        """End every stall, those to come too."""
        self._loop.call_soon_threadsafe(self.released.set)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._run(self._start())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> int:
        self.released = asyncio.Event()
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _stop(self) -> None:
        self._server.close()
        tasks = [connection.abort() for connection in list(self._open)]
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn

    def answer(self, request: Recorded) -> Answer:
        self.requests.append(request)
        if self.api_key and not self.format.has_key(request, self.api_key):
            code, refusal = self.format.key_error()
            return json_answer(self.format, refusal, status=code)
        return self._chat(request) if self.format.is_chat(request) else self._listing(request)

    def _chat(self, request: Recorded) -> Answer:
        answer = self._whole_or_stream(request)
        fault = self.faults.popleft() if self.faults else self.always
        return fault(answer) if fault else answer

    def _whole_or_stream(self, request: Recorded) -> Answer:
        if not self.format.is_stream(request):
            return json_answer(self.format, self.format.whole(self.script, request))
        frames = self.format.frames(self.script, request)
        frames += [self.format.done] if self.format.done else []
        headers = {"content-type": self.format.stream_type}
        return Answer(headers=headers, pieces=tuple(frames), is_chunked=True, format=self.format)

    def _listing(self, request: Recorded) -> Answer:
        if request.path == self.format.base_path + self.format.models_path:
            content = self.format.models(self.script, request)
        else:
            content = self.format.other(self.script, request)
        if content is None:
            answer = json_answer(self.format, self.format.error(404, "Not Found"), status=404)
        else:
            answer = json_answer(self.format, content)
        return self.probe_faults.popleft()(answer) if self.probe_faults else answer


class _Connection(asyncio.Protocol):
    def __init__(self, fake: FakeProvider) -> None:
        self._fake = fake
        self._received = bytearray()
        self._answering: asyncio.Task[None] | None = None
        self._is_cut = False
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._fake.connections += 1
        self._fake._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fake._open.discard(self)
        if self._answering and not self._answering.done():
            self._answering.cancel()
            if not self._is_cut:
                self._fake.hung_up.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        request = self._find_request()
        if request is not None:
            self._answering = asyncio.get_running_loop().create_task(self._send(self._fake.answer(request)))

    def abort(self) -> asyncio.Task[None] | None:
        self._is_cut = True
        self._transport.abort()
        if self._answering:
            self._answering.cancel()
        return self._answering

    def _find_request(self) -> Recorded | None:
        head, separator, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        del self._received[: len(head) + len(separator) + length]
        method, target, _ = first.split(" ")
        parts = urlsplit(target)
        content = json.loads(rest[:length]) if length else None
        return Recorded(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, content, rest[:length])

    async def _send(self, answer: Answer) -> None:
        if answer.before_head:
            await self._obey(answer.before_head)
        if not answer.is_raw:
            self._transport.write(answer.head())
        for piece in answer.pieces:
            if isinstance(piece, Signal):
                await self._obey(piece)
            else:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.is_chunked else piece)
                self._fake.sent_bytes += len(piece)
                await asyncio.sleep(0)  # each piece leaves by itself
                await self._may_write.wait()
        if answer.is_chunked:
            self._transport.write(b"0\r\n\r\n")

    async def _obey(self, signal: Signal) -> None:
        if signal is Signal.CUT:
            self._is_cut = True
            self._transport.close()  # after what was written
            await asyncio.Event().wait()  # until the connection is lost
        self._fake.stalled.set()
        await self._fake.released.wait()
