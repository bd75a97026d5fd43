"""The way by which connections go from one process to another, with what was read of their next request."""

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

MOST_WAITING = 256
"""How many connections may be on their way: the other process takes them at once, unless it hangs."""

_SIZE = struct.Struct("!I")

MakeProtocol = Callable[[bytes], asyncio.Protocol]
"""Makes what answers on a connection, given what was read of it elsewhere."""


class Handover:
    """One end of the way. Belongs to one event loop; `when_over` is called once the other end is closed."""

    def __init__(self, end: socket.socket, make_protocol: MakeProtocol, when_over: Callable[[], None]) -> None:
        self._end = end
        self._make_protocol = make_protocol
        self._when_over = when_over
        self._loop = asyncio.get_running_loop()
        self._leaving: SimpleQueue[tuple[socket.socket, bytes] | None] = SimpleQueue()
        self._taking: set[asyncio.Task[None]] = set()
        for work in (self._send, self._receive):
            threading.Thread(target=work, name="handover", daemon=True).start()

    def give(self, connection: socket.socket, read: bytes) -> None:
        """Let the other process answer; one more than can be on their way is closed."""
        if self._leaving.qsize() < MOST_WAITING:
            self._leaving.put((connection, read))
        else:
            logger.error("The process for large bodies takes no connections: it hangs.")
            connection.close()

    def close(self) -> None:
        self._leaving.put(None)
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def _send(self) -> None:
        while leaving := self._leaving.get():
            connection, read = leaving
            with connection, suppress(OSError):  # the other end is closed: its callers see their connections close
                socket.send_fds(self._end, [_SIZE.pack(len(read))], [connection.fileno()])
                self._end.sendall(read)
            del leaving, read  # not to be held until the next

    def _receive(self) -> None:
        with self._end, suppress(OSError, EOFError):
            while True:
                size, found, _, _ = socket.recv_fds(self._end, _SIZE.size, 1)
                if not found:
                    break
                connection = socket.socket(fileno=found[0])
                read = self._read(*_SIZE.unpack(size))
                self._call(partial(self._begin_to_take, connection, read))
        self._leaving.put(None)
        self._call(self._when_over)

    def _read(self, size_bytes: int) -> bytes:
        """Errors: EOFError."""
        read = bytearray()
        while len(read) < size_bytes:
            if not (piece := self._end.recv(size_bytes - len(read))):
                raise EOFError
            read += piece
        return bytes(read)

    def _call(self, work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(work)

    def _begin_to_take(self, connection: socket.socket, read: bytes) -> None:
        task = self._loop.create_task(self._take(connection, read))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _take(self, connection: socket.socket, read: bytes) -> None:
        try:
            connection.setblocking(False)
            await self._loop.connect_accepted_socket(partial(self._make_protocol, read), connection)
        except OSError:  # the caller has gone
            connection.close()
