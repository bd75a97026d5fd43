from __future__ import annotations

import asyncio
import io
import json
import threading
from contextlib import asynccontextmanager

import psycopg
import pytest

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway.body_room import LARGE_BYTES
from chat.gateway.exchange import FAULT
from chat.gateway.recorder import Recorder
from chat.gateway.service import ChatServer
from chat.ledger.models import ChatStatus
from chat.ledger.writer import LedgerWriter
from llmhub.http.handler import GatewayRequest, Interruption
from llmhub.runtime.database import conninfo
from providers.manager import get_provider_manager
from providers.wire.codec import StreamEncoder
from tests.chat_requests import MEMORY, chat_request
from tests.fakes import stall_after


class ClosedRequest(GatewayRequest):
    """A request whose body nobody may look at."""

    @property
    def unread_body(self):
        raise AssertionError


async def test_what_comes_from_nobody_known_is_not_looked_at(hub):
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"x-api-key", b"lh_no")]}
    server = ChatServer(get_provider_manager(), Recorder(LedgerWriter(conninfo())), MEMORY)

    answer = await server.serve(ClosedRequest(scope, io.BytesIO()), OpenAIDialect())

    assert answer.status_code == 401
    assert "not known" in json.loads(answer.content)["error"]["message"]


class PatientDialect(OpenAIDialect):
    """Reads a request to its end only once another one was answered."""

    def __init__(self):
        self.is_reading, self.may_go_on = threading.Event(), threading.Event()

    def read(self, body):
        self.is_reading.set()
        assert self.may_go_on.wait(10)
        return super().read(body)


async def test_others_are_answered_while_a_large_body_is_read(key):
    message = {"role": "user", "content": "x" * LARGE_BYTES}
    large, small = (
        chat_request(key, json.dumps({"model": "up/m", "messages": [message]}).encode()),
        chat_request(key, b""),
    )
    dialect = PatientDialect()

    async with serving_chats() as server:
        reading = asyncio.ensure_future(server.serve(large, dialect))
        assert await asyncio.to_thread(dialect.is_reading.wait, 10)
        meanwhile = await server.serve(small, OpenAIDialect())
        dialect.may_go_on.set()
        answer = await reading

    assert (meanwhile.status_code, answer.status_code) == (400, 200)


class ActingEncoder(StreamEncoder):
    """Does something in the moment in which frames are rendered."""

    def __init__(self, encoder, act):
        self._encoder, self._act = encoder, act

    def encode(self, deltas):
        if frames := self._encoder.encode(deltas):
            self._act()
        return frames

    def end(self, response):
        return self._encoder.end(response)


class ActingDialect(OpenAIDialect):
    def __init__(self, act):
        self._act = act

    def encoder(self, facts, request):
        return ActingEncoder(super().encoder(facts, request), self._act)


@pytest.fixture
def key(hub, upstream):
    hub.add_provider(upstream, name="up")
    return hub.issue_key()


@pytest.mark.parametrize(
    ("interruption", "end"),
    [
        (Interruption.CALLER_GONE, (ChatStatus.CLIENT_DISCONNECTED, "")),
        (Interruption.STOPPING, (ChatStatus.TRUNCATED, "hub_stopping")),
    ],
)
async def test_who_is_cut_off_as_the_first_frame_comes_is_recorded_for_the_true_reason(key, interruption, end):
    request = stream_request_of(key)

    async with serving_chats() as server:
        answer = await server.serve(request, ActingDialect(lambda: request.client.interrupt(interruption)))
        await read_to_the_end(answer.source)

        assert last_end() == end


async def test_a_stream_that_has_begun_ends_in_words_when_the_hub_stops(key, upstream):
    upstream.fail(stall_after(3))
    request = stream_request_of(key)
    async with serving_chats() as server:
        answer = await server.serve(request, OpenAIDialect())
        reading = asyncio.ensure_future(read_to_the_end(answer.source))
        assert await asyncio.to_thread(upstream.stalled.wait, 10)

        request.client.interrupt(Interruption.STOPPING)
        frames = await reading

        assert last_end() == (ChatStatus.TRUNCATED, "hub_stopping")
    assert json.loads(frames[-1].rpartition(b"data: ")[2])["error"]["code"] == "hub_stopping"
    assert b"[DONE]" not in b"".join(frames)


def be_at_fault():
    raise RuntimeError


async def test_a_stream_that_a_fault_of_the_hub_breaks_is_recorded_as_that(key):
    async with serving_chats() as server:
        answer = await server.serve(stream_request_of(key), ActingDialect(be_at_fault))

        assert last_end() == (ChatStatus.TRUNCATED, FAULT.code or "")
    assert answer.status_code == 500


@asynccontextmanager
async def serving_chats():
    manager, ledger = get_provider_manager(), LedgerWriter(conninfo())
    await ledger.start()
    try:
        yield ChatServer(manager, Recorder(ledger), MEMORY)
    finally:
        await ledger.stop()
        await manager.close_all()


async def read_to_the_end(source):
    frames = []
    while frame := await source.get():
        frames.append(frame)
    await source.aclose()
    return frames


def stream_request_of(key):
    return chat_request(key, b'{"model":"up/m","stream":true,"messages":[{"role":"user","content":"Who is there?"}]}')


def last_end():
    """Ask without giving the event loop time to do more."""
    with psycopg.connect(conninfo()) as connection:
        return connection.execute("SELECT status, error_code FROM chat_chat ORDER BY started_at DESC").fetchone()
