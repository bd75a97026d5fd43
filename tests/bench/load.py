"""Load: a number of connections, each of which asks again as soon as it is answered. Runs as a process of its own.

It reads tasks as lines of JSON and writes two lines for each: that it is warm, and, once told to go, what it measured.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import httptools
import orjson
import uvloop

from tests.bench.cases import CASES, Case

CONNECTED_AT_ONCE = 64
WARM_REQUESTS = 8
TASK_TIMEOUT_S = 120.0


class WrongAnswerError(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`path_prefix` stands before /chat/completions; headers may carry a key, therefore out of `repr`."""

    port: int
    case: str
    connections: int
    seconds: float
    path_prefix: str = "/v1"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`first_…`: until the first byte of the body; `answered` counts the warm-up too, `requests` does not."""

    requests: int
    answered: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


class Load:
    """The requests of one task, over all of its connections."""

    def __init__(self, task: Task, case: Case) -> None:
        self.case = case
        self.request = render(task, case)
        self.answered = 0
        self.first_s: list[float] = []
        self.whole_s: list[float] = []
        self.ends_at = 0.0
        self._busy = 0
        self._idle: asyncio.Future[None]

    async def ask(self, callers: Sequence[Caller], *, seconds: float) -> float:
        """Let each of the callers ask at least once, and on until the time is over; return how long that took."""
        self.first_s.clear()
        self.whole_s.clear()
        self._idle = asyncio.get_running_loop().create_future()
        self._busy = len(callers)
        began_at = time.perf_counter()
        self.ends_at = began_at + seconds
        for caller in callers:
            caller.ask()
        async with asyncio.timeout(TASK_TIMEOUT_S):
            await self._idle
        return time.perf_counter() - began_at

    def stop_one(self) -> None:
        self._busy -= 1
        if not self._busy and not self._idle.done():
            self._idle.set_result(None)

    def fail(self, message: str) -> None:
        if not self._idle.done():
            self._idle.set_exception(WrongAnswerError(message))


class Caller(asyncio.Protocol):
    """One connection. Its methods `on_…` are those that httptools calls."""

    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self._load = load
        self._pieces: list[bytes] = []
        self._is_asking = False
        self._asked_at = self._first_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_asking:
            self._load.fail("A connection was closed before its answer was whole.")

    def ask(self) -> None:
        self._pieces = []
        self._parser = httptools.HttpResponseParser(self)
        self._is_asking = True
        self._asked_at = time.perf_counter()
        self.transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._load.fail("An answer is not HTTP.")

    def on_body(self, piece: bytes) -> None:
        if not self._pieces:
            self._first_at = time.perf_counter()
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        load = self._load
        self._is_asking = False
        if fault := find_fault(load.case, self._parser.get_status_code(), b"".join(self._pieces)):
            load.fail(fault)
            return
        load.answered += 1
        load.whole_s.append(now - self._asked_at)
        load.first_s.append(self._first_at - self._asked_at)
        if now < load.ends_at:
            asyncio.get_running_loop().call_soon(self.ask)
        else:
            load.stop_one()


def find_fault(case: Case, status: int, body: bytes) -> str:
    if status != 200:
        return f"{case.name}: answered with {status}: {body[:500].decode(errors='replace')}"
    for mark, times in case.marks.items():
        if (found := body.count(mark)) != times:
            shown = mark[:60].decode()
            return f"{case.name}: {shown!r} stands {found} times in an answer of {len(body)} bytes, not {times}."
    return ""


def render(task: Task, case: Case) -> bytes:
    headers = {
        "host": f"127.0.0.1:{task.port}",
        "content-type": "application/json",
        "content-length": str(len(case.body)),
        **task.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {task.path_prefix}/chat/completions HTTP/1.1\r\n{head}\r\n".encode() + case.body


async def connect(load: Load, task: Task) -> list[Caller]:
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    while (missing := task.connections - len(callers)) > 0:
        one = [
            loop.create_connection(lambda: Caller(load), "127.0.0.1", task.port)
            for _ in range(min(missing, CONNECTED_AT_ONCE))
        ]
        callers += [caller for _, caller in await asyncio.gather(*one)]
    return callers


async def run(task: Task) -> Measured:
    """Warm up, wait for a line that says to go, and measure."""
    load = Load(task, CASES[task.case])
    callers = await connect(load, task)
    try:
        await load.ask(callers[:WARM_REQUESTS], seconds=0)
        say({"is_warm": True})
        await asyncio.to_thread(sys.stdin.readline)
        elapsed_s = await load.ask(callers, seconds=task.seconds)
    finally:
        for caller in callers:
            caller.transport.abort()
    return measured(load, elapsed_s)


def measured(load: Load, elapsed_s: float) -> Measured:
    return Measured(
        requests=len(load.whole_s),
        answered=load.answered,
        elapsed_s=elapsed_s,
        p50_ms=percentile(load.whole_s, 0.5) * 1000,
        p99_ms=percentile(load.whole_s, 0.99) * 1000,
        first_p50_ms=percentile(load.first_s, 0.5) * 1000,
        first_p99_ms=percentile(load.first_s, 0.99) * 1000,
    )


def say(content: object) -> None:
    sys.stdout.write(orjson.dumps(content).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    for line in iter(sys.stdin.readline, ""):
        try:
            say(asdict(uvloop.run(run(Task(**orjson.loads(line))))))
        except (WrongAnswerError, OSError) as error:
            say({"error": str(error) or type(error).__name__})


if __name__ == "__main__":
    main()
