import asyncio
from contextlib import asynccontextmanager, closing, suppress

import pytest

from tests.bench.cases import CASES, Case
from tests.bench.load import Load, Task, WrongAnswerError, connect, measured, percentile

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nPari"
QUESTION_END = b"\r\n\r\n{}"
CASE = Case(name="small", body=b"{}", marks={b"Pari": 1}, chunks=0)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def callers(*pieces: bytes, connections: int = 1, pause_s: float = 0.0):
    """Yield a load and its connections to a server that gives each request these pieces as its answer."""

    serving = set()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
        with closing(writer), suppress(asyncio.IncompleteReadError):
            await reader.readuntil(QUESTION_END)
            while pieces:
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(pause_s)
                await reader.readuntil(QUESTION_END)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    task = Task(port=server.sockets[0].getsockname()[1], case="small", connections=connections, seconds=0)
    load = Load(task, CASE)
    found = await connect(load, task)
    try:
        yield load, found
    finally:
        for caller in found:
            caller.transport.close()
        server.close()
        await asyncio.gather(*serving)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.5, 50, id="p50"),
        pytest.param(0.99, 99, id="p99"),
        pytest.param(1.0, 100, id="all"),
        pytest.param(0.001, 1, id="least"),
    ],
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share, expected):
    assert percentile([*range(100, 0, -1)], share) == expected


def test_a_percentile_of_one_value_is_that_value():
    assert percentile([7.0], 0.99) == 7.0


async def test_each_connection_asks_at_least_once():
    async with callers(WHOLE, connections=70) as (load, found):
        elapsed_s = await load.ask(found, seconds=0)

    assert measured(load, elapsed_s).requests == load.answered == 70


async def test_a_connection_asks_on_until_the_time_is_over():
    async with callers(WHOLE, connections=2) as (load, found):
        elapsed_s = await load.ask(found, seconds=0.05)

    assert elapsed_s >= 0.05
    assert load.answered > 2


async def test_the_warm_up_is_answered_but_not_measured():
    async with callers(WHOLE, connections=3) as (load, found):
        await load.ask(found, seconds=0)
        result = measured(load, await load.ask(found, seconds=0))

    assert (result.requests, result.answered) == (3, 6)


async def test_a_stream_is_timed_to_its_first_and_to_its_last_byte():
    pieces = (CHUNKED, b"2\r\nPa\r\n", b"2\r\nri\r\n0\r\n", b"\r\n")
    async with callers(*pieces, pause_s=0.02) as (load, found):
        result = measured(load, await load.ask(found, seconds=0))

    assert result.first_p50_ms >= 15
    assert result.p50_ms >= result.first_p50_ms + 30


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        pytest.param([b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nPari"], "answered with 503: Pari", id="status"),
        pytest.param([b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nPa"], "stands 0 times", id="text-missing"),
        pytest.param([b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nPariPari"], "stands 2 times", id="text-twice"),
        pytest.param([], "closed before", id="closed"),
        pytest.param([b"Paris\r\n\r\n"], "not HTTP", id="no-http"),
    ],
)
async def test_a_wrong_answer_ends_the_load(pieces, words):
    async with callers(*pieces) as (load, found):
        with pytest.raises(WrongAnswerError, match=words):
            await load.ask(found, seconds=0.5)


@pytest.mark.parametrize("name", ["direct", "bare"])
@pytest.mark.parametrize("case", CASES)
def test_upstream_and_bare_proxy_answer_every_case(targets, load, name, case):
    result = load.run(targets[name], case, 2, seconds=0).measured

    assert (result.requests, result.answered) == (2, 4)
    assert 0 < result.first_p50_ms <= result.p50_ms <= result.p99_ms
