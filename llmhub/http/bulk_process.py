"""A second process beside each web process, which serves requests with large bodies.

Parsing, encoding or storing a large body holds the interpreter for one long C call, and blocks every other request.
Here only requests with large bodies wait for it. It runs the same server and application, and starts when first
needed or some time after web, whichever comes first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from functools import partial

import uvicorn

from llmhub.http.server import BoundedHttpProtocol
from llmhub.http.socket_passing import MakeProtocol, SocketChannel
from llmhub.http.uvicorn_options import DRAIN_TIMEOUT_S, OPTIONS
from llmhub.runtime.large_work import HUGE_BYTES, start_large_work

logger = logging.getLogger(__name__)

BULK_BYTES = 64 * 1024
"""Larger bodies go to the bulk process; smaller ones take milliseconds at worst."""

WARM_UP_S = 10.0
"""The latest start after web; short-lived web processes start none."""

NICENESS = 10
"""Gives web priority where CPUs are scarce."""

GRACE_S = 5.0
"""How long it may take to exit after its last request."""

OWN_VARIABLES = {
    "LLMHUB_DATABASE_POOL": "0",  # few requests for pages have large bodies
    "LLMHUB_STOP_NOTICE_S": "0",  # web has already given notice
}


def is_bulk(size_bytes: int | None) -> bool:
    """Whether the bulk process serves a body of this size; None: undeclared."""
    return size_bytes is None or size_bytes > BULK_BYTES


class BulkProcess:
    """Web's handle on the bulk process. Belongs to one event loop."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: SocketChannel | None = None
        self._make_protocol: MakeProtocol | None = None
        self._reaping: asyncio.Future[int] | None = None
        self._is_stopping = False

    def is_for(self, size_bytes: int | None) -> bool:
        return is_bulk(size_bytes)

    def give(self, protocol: BoundedHttpProtocol, connection: socket.socket, read: bytes) -> None:
        self._make_protocol = protocol.successor
        channel = self._channel or self._start()
        channel.give(connection, read)

    def warm_up(self) -> None:
        """Schedule its start."""
        asyncio.get_running_loop().call_later(WARM_UP_S, self._start_if_needed)

    def begin_to_stop(self) -> None:
        """Have it drain: finish its requests and accept no more."""
        self._is_stopping = True
        if self._process is not None:
            self._process.terminate()

    async def stop(self) -> None:
        """Wait for its exit; kill it after the timeout."""
        self.begin_to_stop()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, DRAIN_TIMEOUT_S + GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _start_if_needed(self) -> None:
        if self._channel is None and not self._is_stopping:
            self._start()

    def _start(self) -> SocketChannel:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "llmhub.http.bulk_process", str(theirs.fileno())]
            process = subprocess.Popen(command, env=os.environ | OWN_VARIABLES, pass_fds=[theirs.fileno()])  # noqa: S603 (ours)
        self._process = process
        self._channel = SocketChannel(ours, self._make_protocol_of_web, partial(self._on_exit, process))
        return self._channel

    def _make_protocol_of_web(self, read: bytes) -> asyncio.Protocol:
        assert self._make_protocol is not None  # a connection returns only after `give`
        return self._make_protocol(read)

    def _on_exit(self, process: subprocess.Popen[bytes]) -> None:
        """Handle the closed channel: the process is about to exit, expectedly or not."""
        self._channel = None
        if not self._is_stopping:
            logger.error("The process for large bodies has ended; the next of them starts another.")
            self._reaping = asyncio.ensure_future(asyncio.to_thread(process.wait))


class BulkServer(uvicorn.Server):
    """A server without a listener: web passes connections over a socket, and gets them back for small requests.

    Exits when web does.
    """

    def __init__(self, end: socket.socket) -> None:
        super().__init__(uvicorn.Config("llmhub.asgi:application", **OPTIONS))
        self._end = end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        start_large_work(at_once_bytes=HUGE_BYTES)
        await super().startup(sockets=sockets or [])
        self._channel = SocketChannel(self._end, self._make_protocol, self._on_exit)
        BoundedHttpProtocol.other_process = self

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._channel.close()
        await super().shutdown(sockets)

    def is_for(self, size_bytes: int | None) -> bool:
        return not is_bulk(size_bytes)

    def give(self, _protocol: BoundedHttpProtocol, connection: socket.socket, read: bytes) -> None:
        self._channel.give(connection, read)

    def _make_protocol(self, read: bytes) -> BoundedHttpProtocol:
        return BoundedHttpProtocol(self.config, self.server_state, self.lifespan.state, read=read)

    def _on_exit(self) -> None:
        self.should_exit = True


def run() -> None:
    os.nice(NICENESS)
    BulkServer(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    run()
