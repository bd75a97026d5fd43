"""Pass connections between processes, with the bytes already read of their next request."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue

logger = logging.getLogger(__name__)

MAX_QUEUED = 256
"""How many connections may be queued; the other process accepts them at once unless it hangs."""

_SIZE = struct.Struct("!I")

MakeProtocol = Callable[[bytes], asyncio.Protocol]
"""Creates the protocol of a connection, given the bytes already read from it."""


class SocketChannel:
    """One end of a socket pair. Belongs to one event loop; calls `on_close` when the other end closes."""

    def __init__(self, end: socket.socket, make_protocol: MakeProtocol, on_close: Callable[[], None]) -> None:
        self._end = end
        self._make_protocol = make_protocol
        self._on_close = on_close
        self._loop = asyncio.get_running_loop()
        self._outgoing: SimpleQueue[tuple[socket.socket, bytes] | None] = SimpleQueue()
        self._accepting: set[asyncio.Task[None]] = set()
        for work in (self._send, self._receive):
            threading.Thread(target=work, name="socket channel", daemon=True).start()

    def give(self, connection: socket.socket, read: bytes) -> None:
        """Queue a connection for the other process; close it if the queue is full."""
        if self._outgoing.qsize() < MAX_QUEUED:
            self._outgoing.put((connection, read))
        else:
            logger.error("The process for large bodies takes no connections: it hangs.")
            connection.close()

    def close(self) -> None:
        self._outgoing.put(None)
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def _send(self) -> None:
        while item := self._outgoing.get():
            connection, read = item
            with connection, suppress(OSError):  # the other end is closed: the callers see a disconnect
                socket.send_fds(self._end, [_SIZE.pack(len(read))], [connection.fileno()])
                self._end.sendall(read)
            del item, read  # do not keep the buffers until the next item

    def _receive(self) -> None:
        with self._end, suppress(OSError, EOFError):
            while True:
                size, fds, _, _ = socket.recv_fds(self._end, _SIZE.size, 1)
                if not fds:
                    break
                connection = socket.socket(fileno=fds[0])
                read = self._read(*_SIZE.unpack(size))
                self._call(partial(self._start_accept, connection, read))
        self._outgoing.put(None)
        self._call(self._on_close)

    def _read(self, size_bytes: int) -> bytes:
        """Errors: EOFError."""
        read = bytearray()
        while len(read) < size_bytes:
            if not (chunk := self._end.recv(size_bytes - len(read))):
                raise EOFError
            read += chunk
        return bytes(read)

    def _call(self, work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(work)

    def _start_accept(self, connection: socket.socket, read: bytes) -> None:
        task = self._loop.create_task(self._accept(connection, read))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    async def _accept(self, connection: socket.socket, read: bytes) -> None:
        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(partial(self._make_protocol, read), connection)
        except OSError:  # the caller disconnected
            connection.close()
