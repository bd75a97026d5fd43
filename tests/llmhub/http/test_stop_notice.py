import asyncio
import os
import signal

import pytest

from llmhub.http.stop_notice import StopNotice


class Server:
    def __init__(self):
        self.numbers = []
        self.has_begun_to_stop = False
        self.is_told = asyncio.Event()

    def begin_to_stop(self):
        self.has_begun_to_stop = True

    def hear(self, number, _frame):
        assert self.has_begun_to_stop
        self.numbers.append(number)
        self.is_told.set()


@pytest.fixture
def server():
    """What the server hears of SIGTERM."""
    server = Server()
    before = signal.signal(signal.SIGTERM, server.hear)
    yield server
    signal.signal(signal.SIGTERM, before)


async def test_the_server_hears_of_the_stop_after_the_notice(server):
    noted = asyncio.Event()
    StopNotice(0.05, noted.set, server.begin_to_stop).install()

    os.kill(os.getpid(), signal.SIGTERM)
    await noted.wait()
    at_the_notice = list(server.numbers)
    await server.is_told.wait()

    assert (at_the_notice, server.numbers) == ([], [signal.SIGTERM])


async def test_a_second_signal_is_heard_at_once(server):
    StopNotice(60, lambda: None, server.begin_to_stop).install()

    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)

    assert server.numbers == [signal.SIGTERM]


async def test_without_a_notice_the_server_hears_at_once(server):
    StopNotice(0, lambda: None, server.begin_to_stop).install()

    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)

    assert server.numbers == [signal.SIGTERM]
