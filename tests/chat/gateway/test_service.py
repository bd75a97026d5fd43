from __future__ import annotations

import asyncio
import gc
import io
import json
import threading
from contextlib import aclosing, asynccontextmanager

import psycopg
import pytest

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway.body_room import LARGE_BYTES
from chat.gateway.incoming import new_call
from chat.gateway.pipeline import FAULT, ChatPipeline
from chat.gateway.service import ChatServer, _begin, _Rendering
from chat.ledger.models import ChatStatus
from chat.ledger.writer import LedgerWriter
from llmhub.http.handler import GatewayRequest
from llmhub.runtime.database import conninfo
from providers.errors import UpstreamError
from providers.manager import get_provider_manager
from tests.chat_requests import MEMORY, chat_request
from tests.fakes import stall_after


class ClosedRequest(GatewayRequest):
    """A request whose body nobody may look at."""

    caller_gone = asyncio.Event()

    @property
    def unread_body(self):
        raise AssertionError


async def test_what_comes_from_nobody_known_is_not_looked_at(hub):
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"x-api-key", b"lh_no")]}
    server = ChatServer(ChatPipeline(get_provider_manager(), LedgerWriter(conninfo())), MEMORY)

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


class LeavingDialect(OpenAIDialect):
    """Renders the first frame in the moment in which the caller leaves."""

    def frames(self, chunk, facts):
        if not self.serving.cancelling():
            self.serving.cancel()
        return super().frames(chunk, facts)


@pytest.fixture
def key(hub, upstream):
    hub.add_provider(upstream, name="up")
    return hub.issue_key()


async def test_a_caller_who_leaves_when_the_first_frame_comes_is_recorded_before_the_work_ends(key):
    request = stream_request_of(key)
    request.caller_gone.set()

    serving, end = await end_of_cancelled(request)

    assert serving.cancelled()
    assert end == (ChatStatus.CLIENT_DISCONNECTED, "")


async def test_a_stream_that_the_stopping_hub_cuts_off_is_not_put_down_to_the_caller(key):
    serving, end = await end_of_cancelled(stream_request_of(key))

    assert end == (ChatStatus.TRUNCATED, "hub_stopping")
    assert (serving.result().status_code, serving.cancelling()) == (503, 0)
    assert json.loads(serving.result().content)["error"]["code"] == "hub_stopping"


async def test_a_stream_that_has_begun_ends_in_words_when_the_hub_stops(key, upstream):
    upstream.fail(stall_after(3))
    async with serving_chats() as server:
        answer = await server.serve(stream_request_of(key), OpenAIDialect())
        reading = asyncio.ensure_future(read_to_the_end(answer.frames))
        assert await asyncio.to_thread(upstream.stalled.wait, 10)

        reading.cancel()
        frames = await reading

        assert last_end() == (ChatStatus.TRUNCATED, "hub_stopping")
    assert json.loads(frames[-1].removeprefix(b"data: "))["error"]["code"] == "hub_stopping"
    assert b"[DONE]" not in b"".join(frames)


class BrokenDialect(OpenAIDialect):
    def frames(self, chunk, facts):
        raise RuntimeError


async def test_a_stream_that_a_fault_of_the_hub_breaks_is_recorded_as_that(key):
    async with serving_chats() as server:
        answer = await server.serve(stream_request_of(key), BrokenDialect())

        assert last_end() == (ChatStatus.TRUNCATED, FAULT.code or "")
    assert answer.status_code == 500


@asynccontextmanager
async def serving_chats():
    manager, ledger = get_provider_manager(), LedgerWriter(conninfo())
    await ledger.start()
    try:
        yield ChatServer(ChatPipeline(manager, ledger), MEMORY)
    finally:
        await ledger.stop()
        await manager.close_all()


async def read_to_the_end(frames):
    async with aclosing(frames):
        return [frame async for frame in frames]


def stream_request_of(key):
    return chat_request(key, b'{"model":"up/m","stream":true,"messages":[{"role":"user","content":"Who is there?"}]}')


async def end_of_cancelled(request):
    """Cancel what serves the request when the first frame comes; return it, and how the chat is recorded at once."""
    dialect = LeavingDialect()
    async with serving_chats() as server:
        dialect.serving = asyncio.ensure_future(server.serve(request, dialect))
        await asyncio.wait({dialect.serving})
        return dialect.serving, last_end()


def last_end():
    """Ask without giving the event loop time to do more."""
    with psycopg.connect(conninfo()) as connection:
        return connection.execute("SELECT status, error_code FROM chat_chat ORDER BY started_at DESC").fetchone()


async def test_a_stream_that_fails_as_its_caller_goes_away_is_not_logged_with_its_words(caplog):
    began = asyncio.Event()

    async def frames():
        try:
            began.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise UpstreamError("You asked: canary prompt") from None
        yield b""

    call = new_call(OpenAIDialect())
    rendering = _Rendering(OpenAIDialect(), call, wants_usage=False)
    serving = asyncio.create_task(_begin(rendering, frames(), call, early_s=5))
    await began.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    del serving
    await asyncio.sleep(0)  # the loop lets go of what it ran
    gc.collect()

    assert caplog.text == ""
