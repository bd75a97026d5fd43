"""What uvicorn leaves open: how long, and how large, a request may be before anyone answers for it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import httptools
import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from llmhub.http.connection_bounds import ConnectionBounds
from llmhub.http.request_bodies import HANG_UP, IDLING, WHOLE


@dataclass(frozen=True, slots=True)
class EarlyRefusal:
    """What is said to a request that is not understood as far as its head."""

    status: int
    code: str
    message: str

    def content(self) -> bytes:
        error = {"type": "invalid_request_error", "message": self.message, "code": self.code, "param": None}
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        return STATUS_LINE[self.status] + head + body


FRAMING = (b"content-length", b"transfer-encoding")
"""The headers that tell where a body ends."""

CONNECTIONS = ConnectionBounds()
"""Those of this process; without bounds until it is known how many there may be."""

CROWDED = EarlyRefusal(503, "too_many_connections", "The hub has no room for another connection now.")
NOT_HTTP = EarlyRefusal(400, "invalid_http", "The request is not valid HTTP.")
PIPELINED = EarlyRefusal(
    400, "pipelined_request", "A large body may not be sent before the request before it is answered."
)


VERSIONS = ("1.0", "1.1")


class OtherProcess(Protocol):
    """Another process that answers some of the requests."""

    def is_for(self, size_bytes: int | None) -> bool:
        """Whether it answers a request with a body of this size; None where that is not declared."""

    def give(self, protocol: BoundedHttpProtocol, connection: socket.socket, read: bytes) -> None:
        """Hand a connection over, with what was read of the request, which is the first on it as far as one knows."""


class HeadTooLargeError(Exception):
    pass


class PipelinedError(Exception):
    pass


class FramingError(Exception):
    pass


class _Lingering:
    """A transport as one answer sees it, whose end does not close the connection yet."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection, on which a request's head, its first line included, is whole in bounded time and space.

    What may follow a chunked body is held to the same size, and never taken for headers. A caller who takes nothing
    of what it is sent for `unread_s`, or of whom nothing is heard, has gone: on Linux, whose kernel watches for it.
    Another protocol that is offered is passed over. A request for another process goes there, connection and all.
    """

    bounds: ClassVar[ConnectionBounds] = CONNECTIONS
    other_process: ClassVar[OtherProcess | None] = None

    head_s = 20.0
    unread_s = 60.0
    linger_s = 1.0
    linger_bytes = 1024 * 1024
    max_head_bytes = 64 * 1024
    max_headers = 200

    _is_in_head = True
    _has_begun = False
    _barren_bytes = 0
    _read_bytes = 0
    _is_deaf = False
    """Whether what the parser tells does not count."""
    _is_in_body = False
    _is_leaving = False
    _is_nothing_before = True
    _is_head_kept = False
    """Whether what came of the last request is in `_head` from its first byte on."""
    _answering: RequestResponseCycle | None = None
    _timer: asyncio.TimerHandle | None = None
    _refusal = NOT_HTTP
    _is_refused = False
    _idling: RequestResponseCycle | None = None
    _extensions: dict[str, Any]
    _address = ""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        read: bytes = b"",
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._read_elsewhere = read
        self._head: list[bytes] = []

    def successor(self, read: bytes) -> BoundedHttpProtocol:
        """Return what answers on another connection, of which so much was read elsewhere."""
        return type(self)(self.config, self.server_state, self.app_state, self.loop, read=read)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._extensions = {
            HANG_UP: {"now": self._hang_up},
            IDLING: {"say": self._note_idling},
            WHOLE: {"ask": self._is_whole},
        }
        self._address = self.client[0] if self.client else ""
        if not self.bounds.enter(self._address, self):
            self._is_refused = True
            transport.write(CROWDED.content())
            transport.close()
            return
        self._bound_time()
        if sys.platform == "linux" and self.client:
            unread_ms = round(self.unread_s * 1000)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
        if self._read_elsewhere:
            # Not now: a transport that has not begun to read cannot pause.
            self.loop.call_soon(self.data_received, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self.bounds.leave(self._address, self)
        self._unbound_time()
        if self._answering is not None:  # uvicorn tells the last request alone, which may still wait for its turn
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)
        self._answering = self._idling = self.cycle = None  # type: ignore[assignment]  # they hold what was read, and lead back here
        self._extensions.clear()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._read_elsewhere:
            data = self._read_elsewhere + data
            self._read_elsewhere = b""
        if self._is_refused:
            self._throw_away(data)
            return
        was_in_head = self._is_in_head
        self._barren_bytes += len(data)
        self._is_nothing_before = not self._is_in_body
        if not self._is_in_body:
            self._head.append(data)
        while data:
            self._read_bytes = len(data)
            super().data_received(data)
            data = data[self._read_bytes :]
        if self._is_leaving:
            self._leave()
            return
        if self._is_in_head and not was_in_head:
            self._barren_bytes = 0  # what came before this head is in it
        if self._is_refused or self.transport.is_closing():
            return
        if self._barren_bytes > self.max_head_bytes:
            self._refuse(self._too_large())
        elif self._is_idle or self._has_begun:
            self._bound_time()

    @property
    def _is_idle(self) -> bool:
        """Whether no request is being answered, or still to be."""
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def is_silent(self) -> bool:
        is_idling = self._idling is not None and self._idling is self._answering
        return self._is_idle or self._is_refused or is_idling

    def drop(self) -> None:
        self.transport.close()

    @property
    def _is_incomplete(self) -> bool:
        """Whether the last request is the only one, not whole yet, and not answered either."""
        return self.cycle.more_body and not (self.cycle.response_started or self.pipeline)

    def _forget_request(self) -> None:
        """Let whoever waits for the rest of a request know that it will not come."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _unsupported_upgrade_warning(self) -> None:
        """Read on as if nothing had been offered: the parser takes what comes for the other protocol.

        Source: https://github.com/Kludex/uvicorn/issues/2722 (open, read 2026-11). This goes once it is closed.
        """
        paused = sys.exc_info()[1]
        assert isinstance(paused, httptools.HttpParserUpgrade)
        self._read_bytes = paused.args[0]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_deaf = True
        framing = [b"%s: %s\r\n" % header for header in self.headers if header[0] in FRAMING]
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
        self._is_deaf = self._is_leaving

    def on_message_begin(self) -> None:
        if self._is_deaf:
            return
        self._is_in_head = self._has_begun = True
        self._is_head_kept = self._is_nothing_before
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_url(self, url: bytes) -> None:
        if not self._is_deaf:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        size_bytes, framing = len(self.url), []
        for header in self.headers:
            name, value = header
            size_bytes += len(name) + len(value)
            if name in FRAMING:
                framing.append(header)
        if size_bytes > self.max_head_bytes or len(self.headers) > self.max_headers:
            self._refusal = self._too_large()
            raise HeadTooLargeError
        if not self._is_framed_in_one_way(framing):
            raise FramingError
        if self._is_for_other_process(framing):
            self._check_alone()
            self._is_deaf = self._is_leaving = True
            return
        self._head.clear()
        self._is_nothing_before = False
        self._is_in_body = True
        self._is_in_head = self._has_begun = False
        self._barren_bytes = 0
        self._unbound_time()
        self.bounds.note(self._address, self)
        super().on_headers_complete()

    def _is_framed_in_one_way(self, framing: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether no server before this one can have seen another end of the body than the parser does."""
        codings = [value.lower() for name, value in framing if name == b"transfer-encoding"]
        version = self.parser.get_http_version()
        return version in VERSIONS and (not codings or (codings == [b"chunked"] and version == "1.1"))

    def _is_for_other_process(self, framing: Sequence[tuple[bytes, bytes]]) -> bool:
        if self.other_process is None or self.scheme == "https":  # whose state cannot go along
            return False
        declared = dict(framing)
        if b"transfer-encoding" in declared:
            return self.other_process.is_for(None)
        return self.other_process.is_for(int(declared.get(b"content-length", 0)))

    def _check_alone(self) -> None:
        """Errors: PipelinedError where the request came together with an earlier one, or before that was answered."""
        if not (self._is_head_kept and self._is_idle) or self.transport.get_write_buffer_size():
            self._refusal = PIPELINED
            raise PipelinedError

    def _leave(self) -> None:
        """Let the other process answer, and be gone here without a word to the caller."""
        self._is_refused = True  # should more be read meanwhile
        self._unbound_time()
        connection = self.transport.get_extra_info("socket")
        read = b"".join(self._head)
        self._head.clear()
        assert self.other_process is not None
        self.other_process.give(self, socket.socket(fileno=os.dup(connection.fileno())), read)
        self.transport.abort()

    def on_body(self, body: bytes) -> None:
        if self._is_leaving:
            return
        self._barren_bytes = 0
        if self.cycle.body or self.cycle.response_complete:
            super().on_body(body)
            return
        self.cycle.body = body  # type: ignore[assignment]  # uvicorn would copy it twice
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        if not (self._is_leaving or self.parser.should_upgrade()):
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's words; ours are in the hub's shape)
        fault = sys.exc_info()[1]
        if isinstance(fault, httptools.HttpParserCallbackError):  # our own, see `on_headers_complete`
            self._refuse(self._refusal)
        else:
            self._refuse(replace(NOT_HTTP, message=f"The request is not valid HTTP: {fault}."))

    def _too_large(self) -> EarlyRefusal:
        most = f"{self.max_head_bytes} bytes or {self.max_headers} headers"
        return EarlyRefusal(431, "headers_too_large", f"The request's head is larger than {most}.")

    def _refuse(self, refusal: EarlyRefusal) -> None:
        """Say what is wrong, unless that would fall into another answer, and close.

        An answer under way is given: to who sent more than was declared, it tells what became of the beginning.
        """
        self._is_refused = True
        self._unbound_time()
        if not self._is_idle:
            if not self._is_incomplete:
                self._close_after_answer()
                return
            self._forget_request()
        self.transport.write(refusal.content())
        self._linger()

    def _hang_up(self) -> None:
        """Close once the request that is being answered has its answer, unless it is whole: the rest is thrown away."""
        cycle = self._answering
        if cycle is not None and cycle.more_body and not self._is_refused:
            self._is_refused = True
            self._let_go_after(cycle)

    def _close_after_answer(self) -> None:
        """Close once the request that is being answered has its answer; at once if it will never be whole."""
        cycle = self._answering
        if cycle is None or cycle.more_body:
            self.transport.close()
            return
        self.pipeline.clear()
        self._let_go_after(cycle)

    def _let_go_after(self, cycle: RequestResponseCycle) -> None:
        cycle.keep_alive = False
        cycle.transport = _Lingering(self.transport, self._linger)  # type: ignore[assignment]  # all a cycle calls

    def _is_whole(self) -> bool:
        return self._answering is not None and not self._answering.more_body

    def _note_idling(self, is_idling: bool) -> None:
        """Note whether nothing is done for the request being answered but to wait, whoever sent it."""
        self._idling = self._answering if is_idling else None

    def _throw_away(self, data: bytes) -> None:
        """Take a little more, so that whoever sends no more than that can read the answer in peace."""
        self._barren_bytes += len(data)
        if self._barren_bytes > self.linger_bytes:
            self.flow.pause_reading()

    def _linger(self) -> None:
        """Close, but not at once: a connection closed while its caller still sends is reset, and the answer with it."""
        self._unbound_time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(self.linger_s, self.transport.close)

    def _bound_time(self) -> None:
        if self._timer is None:
            # Not to the moment: those who came together would all come back together.
            later_s = self.head_s * random.uniform(1.0, 1.25)  # noqa: S311 (nothing here is secret)
            self._timer = self.loop.call_later(later_s, self._on_time_over)

    def _unbound_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time_over(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if not self._is_idle:
            self._bound_time()  # an earlier request is being answered
        elif self._has_begun:
            self._refuse(EarlyRefusal(408, "request_timeout", f"The headers did not arrive within {self.head_s:g} s."))
        else:
            self.transport.close()
