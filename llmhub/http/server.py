"""Bound what uvicorn leaves unbounded: the time and size of a request's head, and idle connections."""

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
from llmhub.http.request_bodies import CLOSE_AFTER_ANSWER, IDLING, WHOLE


@dataclass(frozen=True, slots=True)
class EarlyRejection:
    """The response to a request that is rejected before its head is complete."""

    status: int
    code: str
    message: str

    def content(self) -> bytes:
        error = {"type": "invalid_request_error", "message": self.message, "code": self.code, "param": None}
        body = json.dumps({"error": error}, separators=(",", ":")).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        return STATUS_LINE[self.status] + head + body


FRAMING = (b"content-length", b"transfer-encoding")
"""The headers that frame a body."""

CONNECTIONS = ConnectionBounds()
"""The connections of this process; unbounded until the limits are set."""

CROWDED = EarlyRejection(503, "too_many_connections", "The hub has no room for another connection now.")
NOT_HTTP = EarlyRejection(400, "invalid_http", "The request is not valid HTTP.")
PIPELINED = EarlyRejection(
    400, "pipelined_request", "A large body may not be sent before the request before it is answered."
)


VERSIONS = ("1.0", "1.1")


class OtherProcess(Protocol):
    """Another process that serves some of the requests."""

    def is_for(self, size_bytes: int | None) -> bool:
        """Whether it serves a body of this size; None: undeclared."""

    def give(self, protocol: BoundedHttpProtocol, connection: socket.socket, read: bytes) -> None:
        """Pass on a connection, with the bytes read of its request, which is the first pending one."""


class HeadTooLargeError(Exception):
    pass


class PipelinedError(Exception):
    pass


class FramingError(Exception):
    pass


class _LingeringTransport:
    """A transport for one answer, whose `close` lingers instead of closing at once."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class BoundedHttpProtocol(HttpToolsProtocol):
    """A connection that bounds the size and time of a request's head.

    The trailer of a chunked body has the same size bound, and is never taken for headers. A caller who acknowledges
    nothing for `unread_s` counts as disconnected: on Linux, by the kernel's TCP_USER_TIMEOUT. An offered protocol
    upgrade is ignored. A request for another process goes there together with its connection.
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
    _unframed_bytes = 0
    _read_bytes = 0
    _ignores_parser = False
    """Whether the parser's callbacks are ignored."""
    _is_in_body = False
    _is_leaving = False
    _starts_at_boundary = True
    _is_head_kept = False
    """Whether `_head` holds the last request from its first byte on."""
    _answering: RequestResponseCycle | None = None
    _timer: asyncio.TimerHandle | None = None
    _rejection = NOT_HTTP
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
        self._already_read = read
        self._head: list[bytes] = []

    def successor(self, read: bytes) -> BoundedHttpProtocol:
        """Return a protocol for another connection, given the bytes already read from it."""
        return type(self)(self.config, self.server_state, self.app_state, self.loop, read=read)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._extensions = {
            CLOSE_AFTER_ANSWER: {"now": self._hang_up},
            IDLING: {"say": self._note_idling},
            WHOLE: {"ask": self._is_whole},
        }
        self._address = self.client[0] if self.client else ""
        if not self.bounds.enter(self._address, self):
            self._is_refused = True
            transport.write(CROWDED.content())
            transport.close()
            return
        self._start_timer()
        if sys.platform == "linux" and self.client:
            unread_ms = round(self.unread_s * 1000)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unread_ms)
        if self._already_read:
            # Later: a transport that has not begun to read cannot pause.
            self.loop.call_soon(self.data_received, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self.bounds.leave(self._address, self)
        self._stop_timer()
        if self._answering is not None:  # uvicorn notifies only the last request, which may still be queued
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)
        self._answering = self._idling = self.cycle = None  # type: ignore[assignment]  # they hold buffers, and refer back to this protocol
        self._extensions.clear()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._already_read:
            data = self._already_read + data
            self._already_read = b""
        if self._is_refused:
            self._discard(data)
            return
        was_in_head = self._is_in_head
        self._unframed_bytes += len(data)
        self._starts_at_boundary = not self._is_in_body
        if not self._is_in_body:
            self._head.append(data)
        while data:
            self._read_bytes = len(data)
            super().data_received(data)
            data = data[self._read_bytes :]
        if self._is_leaving:
            self._move_to_other_process()
            return
        if self._is_in_head and not was_in_head:
            self._unframed_bytes = 0  # the bytes before this head belong to it
        if self._is_refused or self.transport.is_closing():
            return
        if self._unframed_bytes > self.max_head_bytes:
            self._refuse(self._too_large())
        elif self._is_idle or self._has_begun:
            self._start_timer()

    @property
    def _is_idle(self) -> bool:
        """Whether no request is active or queued."""
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def is_silent(self) -> bool:
        is_idling = self._idling is not None and self._idling is self._answering
        return self._is_idle or self._is_refused or is_idling

    def drop(self) -> None:
        self.transport.close()

    @property
    def _is_incomplete(self) -> bool:
        """Whether the only request is incomplete and unanswered."""
        return self.cycle.more_body and not (self.cycle.response_started or self.pipeline)

    def _abandon_request(self) -> None:
        """Signal a disconnect to whoever waits for the rest of the request."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _unsupported_upgrade_warning(self) -> None:
        """Ignore an upgrade: restart the parser, which would take further input for the other protocol.

        Source: https://github.com/Kludex/uvicorn/issues/2722 (open, read 2026-11). This goes once it is closed.
        """
        paused = sys.exc_info()[1]
        assert isinstance(paused, httptools.HttpParserUpgrade)
        self._read_bytes = paused.args[0]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._ignores_parser = True
        framing = [b"%s: %s\r\n" % header for header in self.headers if header[0] in FRAMING]
        self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
        self._ignores_parser = self._is_leaving

    def on_message_begin(self) -> None:
        if self._ignores_parser:
            return
        self._is_in_head = self._has_begun = True
        self._is_head_kept = self._starts_at_boundary
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_url(self, url: bytes) -> None:
        if not self._ignores_parser:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._ignores_parser:
            return
        size_bytes, framing = len(self.url), []
        for header in self.headers:
            name, value = header
            size_bytes += len(name) + len(value)
            if name in FRAMING:
                framing.append(header)
        if size_bytes > self.max_head_bytes or len(self.headers) > self.max_headers:
            self._rejection = self._too_large()
            raise HeadTooLargeError
        if not self._is_unambiguously_framed(framing):
            raise FramingError
        if self._is_for_other_process(framing):
            self._check_alone()
            self._ignores_parser = self._is_leaving = True
            return
        self._head.clear()
        self._starts_at_boundary = False
        self._is_in_body = True
        self._is_in_head = self._has_begun = False
        self._unframed_bytes = 0
        self._stop_timer()
        self.bounds.note(self._address, self)
        super().on_headers_complete()

    def _is_unambiguously_framed(self, framing: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether every proxy in front sees the same end of the body; guards against request smuggling."""
        codings = [value.lower() for name, value in framing if name == b"transfer-encoding"]
        version = self.parser.get_http_version()
        return version in VERSIONS and (not codings or (codings == [b"chunked"] and version == "1.1"))

    def _is_for_other_process(self, framing: Sequence[tuple[bytes, bytes]]) -> bool:
        if self.other_process is None or self.scheme == "https":  # TLS state cannot be passed on
            return False
        declared = dict(framing)
        if b"transfer-encoding" in declared:
            return self.other_process.is_for(None)
        return self.other_process.is_for(int(declared.get(b"content-length", 0)))

    def _check_alone(self) -> None:
        """Errors: PipelinedError if the request arrived before an earlier one was answered."""
        if not (self._is_head_kept and self._is_idle) or self.transport.get_write_buffer_size():
            self._rejection = PIPELINED
            raise PipelinedError

    def _move_to_other_process(self) -> None:
        """Pass the connection to the other process, and drop it here without closing it for the caller."""
        self._is_refused = True  # in case more is read meanwhile
        self._stop_timer()
        connection = self.transport.get_extra_info("socket")
        read = b"".join(self._head)
        self._head.clear()
        assert self.other_process is not None
        self.other_process.give(self, socket.socket(fileno=os.dup(connection.fileno())), read)
        self.transport.abort()

    def on_body(self, body: bytes) -> None:
        if self._is_leaving:
            return
        self._unframed_bytes = 0
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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn's text; ours is the hub's error object)
        error = sys.exc_info()[1]
        if isinstance(error, httptools.HttpParserCallbackError):  # our own, see `on_headers_complete`
            self._refuse(self._rejection)
        else:
            self._refuse(replace(NOT_HTTP, message=f"The request is not valid HTTP: {error}."))

    def _too_large(self) -> EarlyRejection:
        limits = f"{self.max_head_bytes} bytes or {self.max_headers} headers"
        return EarlyRejection(431, "headers_too_large", f"The request's head is larger than {limits}.")

    def _refuse(self, rejection: EarlyRejection) -> None:
        """Send the rejection unless another answer is in progress, and close.

        An answer in progress is completed: it belongs to the part of the request that was valid.
        """
        self._is_refused = True
        self._stop_timer()
        if not self._is_idle:
            if not self._is_incomplete:
                self._close_after_answer()
                return
            self._abandon_request()
        self.transport.write(rejection.content())
        self._linger()

    def _hang_up(self) -> None:
        """Discard the rest of an incomplete request, and close after its answer."""
        cycle = self._answering
        if cycle is not None and cycle.more_body and not self._is_refused:
            self._is_refused = True
            self._close_after(cycle)

    def _close_after_answer(self) -> None:
        """Close after the answer in progress; at once if its request will never be complete."""
        cycle = self._answering
        if cycle is None or cycle.more_body:
            self.transport.close()
            return
        self.pipeline.clear()
        self._close_after(cycle)

    def _close_after(self, cycle: RequestResponseCycle) -> None:
        cycle.keep_alive = False
        cycle.transport = _LingeringTransport(self.transport, self._linger)  # type: ignore[assignment]  # the methods that a cycle calls

    def _is_whole(self) -> bool:
        return self._answering is not None and not self._answering.more_body

    def _note_idling(self, is_idling: bool) -> None:
        """Record whether the active request only waits."""
        self._idling = self._answering if is_idling else None

    def _discard(self, data: bytes) -> None:
        """Read and discard up to `linger_bytes`, so that a caller who still sends can read the answer."""
        self._unframed_bytes += len(data)
        if self._unframed_bytes > self.linger_bytes:
            self.flow.pause_reading()

    def _linger(self) -> None:
        """Close after a delay: closing while the caller still sends resets the connection, and loses the answer."""
        self._stop_timer()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(self.linger_s, self.transport.close)

    def _start_timer(self) -> None:
        if self._timer is None:
            # With jitter: clients that connected together would otherwise all reconnect together.
            later_s = self.head_s * random.uniform(1.0, 1.25)  # noqa: S311 (nothing here is secret)
            self._timer = self.loop.call_later(later_s, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if not self._is_idle:
            self._start_timer()  # an earlier request is being answered
        elif self._has_begun:
            self._refuse(
                EarlyRejection(408, "request_timeout", f"The headers did not arrive within {self.head_s:g} s.")
            )
        else:
            self.transport.close()
