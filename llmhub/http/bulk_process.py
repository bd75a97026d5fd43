"""A process beside each web process, which answers the requests with large bodies.

To parse, encode or store a large body takes the interpreter for as long as one call into C lasts: nobody else is
answered meanwhile. Here only those wait for it who sent such a body. It is the same server with the same application,
started when it is first needed or a while after web, whichever comes first.
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
from llmhub.http.socket_passing import Handover, MakeProtocol
from llmhub.http.uvicorn_options import DRAIN_TIMEOUT_S, OPTIONS
from llmhub.runtime.large_work import HUGE_BYTES, start_large_work

logger = logging.getLogger(__name__)

BULK_BYTES = 64 * 1024
"""What is larger is for the bulk process: what is not takes milliseconds at worst."""

WARM_UP_S = 10.0
"""How long after web it is started at the latest: who starts many processes for a moment needs none."""

NICENESS = 10
"""It lets web go first where processors are few."""

GRACE_S = 5.0
"""How much longer than its requests it may take to end."""

OWN_VARIABLES = {
    "LLMHUB_DATABASE_POOL": "0",  # few pages have large bodies
    "LLMHUB_STOP_NOTICE_S": "0",  # web has given notice already
}


def is_bulk(size_bytes: int | None) -> bool:
    """Whether a body of this size, None where it is not declared, is for the bulk process."""
    return size_bytes is None or size_bytes > BULK_BYTES


class BulkProcess:
    """The bulk process as web sees it. Belongs to one event loop."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._handover: Handover | None = None
        self._make_protocol: MakeProtocol | None = None
        self._burial: asyncio.Future[int] | None = None
        self._is_stopping = False

    def is_for(self, size_bytes: int | None) -> bool:
        return is_bulk(size_bytes)

    def give(self, protocol: BoundedHttpProtocol, connection: socket.socket, read: bytes) -> None:
        self._make_protocol = protocol.successor
        handover = self._handover or self._start()
        handover.give(connection, read)

    def warm_up(self) -> None:
        """Start it in a while."""
        asyncio.get_running_loop().call_later(WARM_UP_S, self._start_if_wanted)

    def begin_to_stop(self) -> None:
        """Let it take no more, and answer what it has taken."""
        self._is_stopping = True
        if self._process is not None:
            self._process.terminate()

    async def stop(self) -> None:
        """Wait for its end, and see to it."""
        self.begin_to_stop()
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, DRAIN_TIMEOUT_S + GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _start_if_wanted(self) -> None:
        if self._handover is None and not self._is_stopping:
            self._start()

    def _start(self) -> Handover:
        own, its = socket.socketpair()
        with its:
            command = [sys.executable, "-m", "llmhub.http.bulk_process", str(its.fileno())]
            process = subprocess.Popen(command, env=os.environ | OWN_VARIABLES, pass_fds=[its.fileno()])  # noqa: S603 (ours)
        self._process = process
        self._handover = Handover(own, self._make_protocol_of_web, partial(self._note_end, process))
        return self._handover

    def _make_protocol_of_web(self, read: bytes) -> asyncio.Protocol:
        assert self._make_protocol is not None  # what comes back was given
        return self._make_protocol(read)

    def _note_end(self, process: subprocess.Popen[bytes]) -> None:
        """It has closed its end of the way: it is about to end, wanted or not."""
        self._handover = None
        if not self._is_stopping:
            logger.error("The process for large bodies has ended; the next of them starts another.")
            self._burial = asyncio.ensure_future(asyncio.to_thread(process.wait))


class BulkServer(uvicorn.Server):
    """Listens nowhere: its connections come over a socket from web, and go back there with requests that are not large.

    Without web it ends.
    """

    def __init__(self, end: socket.socket) -> None:
        super().__init__(uvicorn.Config("llmhub.asgi:application", **OPTIONS))
        self._end = end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        start_large_work(at_once_bytes=HUGE_BYTES)
        await super().startup(sockets=sockets or [])
        self._handover = Handover(self._end, self._make_protocol, self._note_end)
        BoundedHttpProtocol.other_process = self

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._handover.close()
        await super().shutdown(sockets)

    def is_for(self, size_bytes: int | None) -> bool:
        return not is_bulk(size_bytes)

    def give(self, _protocol: BoundedHttpProtocol, connection: socket.socket, read: bytes) -> None:
        self._handover.give(connection, read)

    def _make_protocol(self, read: bytes) -> BoundedHttpProtocol:
        return BoundedHttpProtocol(self.config, self.server_state, self.lifespan.state, read=read)

    def _note_end(self) -> None:
        self.should_exit = True


def run() -> None:
    os.nice(NICENESS)
    BulkServer(socket.socket(fileno=int(sys.argv[1]))).run()


if __name__ == "__main__":
    run()
