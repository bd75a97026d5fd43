"""Load on one web process, as a process of its own: others' chats that are timed, or attackers who send the worst.

It reads one task as JSON from its arguments and prints one answer as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

PATIENCE_S = 60.0
PROBE_EVERY_S = 0.25
ALL_FILES = 8192


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Chats of callers whom nobody should disturb. Each is due at a time of its own, late or not."""

    port: int
    request: str
    callers: int
    every_s: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What one attacker does over and over.

    Shape: `head` is sent, then the file `body`; the connection is left when an answer has come or after `stay_s`.
    `connections` are opened at once.
    """

    name: str
    head: str
    body: str = ""
    stay_s: float = PATIENCE_S
    connections: int = 1


@dataclass(frozen=True, kw_only=True)
class Siege:
    """All attackers of one process, each of whom waits `pause_s` between two attacks."""

    port: int
    attacks: list[Attack]
    seconds: float
    pause_s: float


@dataclass
class Timed:
    """Units: seconds from when each was due to its whole answer."""

    chats_s: list[float] = field(default_factory=list)
    probes_s: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)


class Wire:
    """One connection by the loop's own calls on sockets: what is sent is not copied, what comes is not kept."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._buffer = bytearray(256 * 1024)
        self.socket = socket.socket()
        self.socket.setblocking(False)

    async def __aenter__(self) -> Wire:
        await self._loop.sock_connect(self.socket, ("127.0.0.1", self._port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def send_file(self, file: BinaryIO) -> None:
        await self._loop.sock_sendfile(self.socket, file)

    async def receive(self) -> memoryview:
        """Return what came, valid until the next call; nothing at the end."""
        size = await self._loop.sock_recv_into(self.socket, self._buffer)
        return memoryview(self._buffer)[:size]

    async def read_answer(self) -> tuple[str, bool]:
        """Read one answer to its end; return its status and whether another may follow."""
        head = b""
        while b"\r\n\r\n" not in head:
            if not (piece := await self.receive()):
                return "closed", False
            head += bytes(piece)
        head, _, rest = head.partition(b"\r\n\r\n")
        status, lower = head.split(b" ", 2)[1].decode(), head.lower()
        if b"content-length: " not in lower:
            await self._read_to_the_end(rest)
            return status, False
        left = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(rest)
        while left > 0:
            if not (piece := await self.receive()):
                return "cut", False
            left -= len(piece)
        return status, b"connection: close" not in lower

    async def _read_to_the_end(self, rest: bytes) -> None:
        tail = rest[-5:]
        while tail != b"0\r\n\r\n" and (piece := await self.receive()):
            tail = (tail + bytes(piece[-5:]))[-5:]


async def call(task: Calls) -> Timed:
    timed, now = Timed(), asyncio.get_running_loop().time()
    offsets = [now + number * task.every_s / task.callers for number in range(task.callers)]
    await asyncio.gather(
        *(_call_in_turn(task, timed, first_s=first_s) for first_s in offsets), _probe(task, timed, first_s=now)
    )
    return timed


async def _call_in_turn(task: Calls, timed: Timed, *, first_s: float) -> None:
    request, wire = task.request.encode(), None
    for number in range(int(task.seconds / task.every_s)):
        due_s = first_s + number * task.every_s
        await _until(due_s)
        try:
            async with asyncio.timeout(PATIENCE_S):
                if wire is None:
                    wire = await Wire(task.port).__aenter__()
                await wire.send(request)
                status, goes_on = await wire.read_answer()
        except (OSError, TimeoutError) as error:
            status, goes_on = type(error).__name__, False
        timed.chats_s.append(asyncio.get_running_loop().time() - due_s)
        if status != "200":
            timed.failures[status] = timed.failures.get(status, 0) + 1
        if not goes_on and wire is not None:
            wire.socket.close()
            wire = None
    if wire is not None:
        wire.socket.close()


async def _probe(task: Calls, timed: Timed, *, first_s: float) -> None:
    """Ask for a sign of life as a health check does: over a connection of its own."""
    for number in range(int(task.seconds / PROBE_EVERY_S)):
        due_s = first_s + number * PROBE_EVERY_S
        await _until(due_s)
        try:
            async with asyncio.timeout(PATIENCE_S), Wire(task.port) as wire:
                await wire.send(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                status, _ = await wire.read_answer()
        except (OSError, TimeoutError) as error:
            status = type(error).__name__
        timed.probes_s.append(asyncio.get_running_loop().time() - due_s)
        if status != "200":
            timed.failures[f"healthz {status}"] = timed.failures.get(f"healthz {status}", 0) + 1


async def _until(due_s: float) -> None:
    await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))


async def besiege(siege: Siege) -> dict[str, int]:
    """Attack until the time is over; return how often each attack got which answer."""
    told: Counter[str] = Counter()
    ends_s = time.monotonic() + siege.seconds
    with suppress(TimeoutError):
        async with asyncio.timeout(siege.seconds):
            await asyncio.gather(*(_attack(siege, attack, told, ends_s=ends_s) for attack in siege.attacks))
    return dict(told)


async def _attack(siege: Siege, attack: Attack, told: Counter[str], *, ends_s: float) -> None:
    while time.monotonic() < ends_s:
        answers = await asyncio.gather(*(_strike(siege.port, attack) for _ in range(attack.connections)))
        told.update(f"{attack.name}: {answer}" for answer in answers)
        await asyncio.sleep(siege.pause_s)


async def _strike(port: int, attack: Attack) -> str:
    """Send one attack and return what came of it. Whoever is answered early sends no more."""
    try:
        with opened(attack.body) as body:
            async with asyncio.timeout(attack.stay_s), Wire(port) as wire:
                await wire.send(attack.head.encode("latin-1"))
                answer = asyncio.ensure_future(wire.read_answer())
                sending = asyncio.ensure_future(wire.send_file(body)) if body else None
                try:
                    return (await answer)[0]
                finally:
                    await _end(answer, sending)
    except (OSError, TimeoutError) as error:
        return type(error).__name__


@contextmanager
def opened(path: str) -> Iterator[BinaryIO | None]:
    if not path:
        yield None
        return
    with Path(path).open("rb") as file:
        yield file


async def _end(*tasks: asyncio.Future[Any] | None) -> None:
    for task in tasks:
        if task is not None:
            task.cancel()
            with suppress(OSError, asyncio.CancelledError):
                await task


def take_what_is_left() -> None:
    """Let all others have the processor first: attackers have machines of their own."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


def lift_limit_of_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(ALL_FILES, hard), hard))


def _run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        return await work()

    return asyncio.run(run())


if __name__ == "__main__":
    kind, content = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    if kind == "calls":
        print(json.dumps(asdict(_run(lambda: call(Calls(**content))))))
    else:
        take_what_is_left()
        lift_limit_of_files()
        attacks = [Attack(**one) for one in content.pop("attacks")]
        print(json.dumps(_run(lambda: besiege(Siege(attacks=attacks, **content)))))
