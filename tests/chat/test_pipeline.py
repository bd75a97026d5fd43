from __future__ import annotations

import asyncio

import psycopg
import pytest

from chat.api.openai import OpenAIDialect
from chat.ids import uuid7
from chat.ledger.content import make_content
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Asked, Caller
from chat.ledger.writer import LedgerWriter, WriterLimits
from chat.pipeline import ChatCall, ChatPipeline
from llmhub.database import conninfo
from providers.manager import get_provider_manager
from providers.problems import problem_of
from providers.routing import Plan
from providers.types import ChatMessage, ChatRequest, ChatResponse, JSONObject
from tests.chat.ledger.proxy import proxied
from tests.fakes import FakeProvider
from tests.live import LiveHub


def whole(response: ChatResponse) -> JSONObject:
    return {"content": response.content}


def new_call() -> ChatCall:
    return ChatCall(
        chat_id=uuid7(),
        started_s=0.0,
        caller=Caller(),
        asked=Asked(dialect=OpenAIDialect.name, model_name="m"),
        content=make_content(b"{}"),
        request=ChatRequest(messages=(ChatMessage(role="user", content="Who is there?"),), model_name="m"),
        deadline_s=float("inf"),
    )


@pytest.fixture
def plan(hub: LiveHub, upstream: FakeProvider) -> Plan:
    hub.add_provider(upstream, name="up")
    return get_provider_manager().plan(model_name="up/m")


async def test_a_caller_who_leaves_a_stream_while_the_record_is_away_is_told_nothing(plan):
    ledger, manager = LedgerWriter(conninfo()), get_provider_manager()
    await ledger.start()
    chunks = ChatPipeline(manager, ledger).stream(new_call(), plan, whole, problem_of)
    await anext(chunks)
    await ledger.stop()

    await chunks.aclose()

    await manager.close_all()


async def test_a_chat_whose_intent_was_stored_in_silence_ends_as_rejected_and_asks_no_provider(plan, upstream):
    async with proxied(conninfo()) as proxy:
        ledger = LedgerWriter(
            conninfo(host="127.0.0.1", port=proxy.port, sslmode="disable", gssencmode="disable"),
            limits=WriterLimits(silence_timeout_s=0.5),
        )
        await ledger.start()
        pipeline = ChatPipeline(get_provider_manager(), ledger)
        await pipeline.answer(new_call(), plan, whole, problem_of)
        call = new_call()
        proxy.answers.clear()

        with pytest.raises(LedgerUnavailableError):
            await pipeline.answer(call, plan, whole, problem_of)

        proxy.answers.set()
        assert await recorded_end(call) == ("rejected", "record_unavailable", 503)
        assert len(upstream.chats) == 1
        await ledger.stop()
        await pipeline.manager.close_all()


async def recorded_end(call: ChatCall) -> tuple[str, str, int]:
    query = "SELECT status, error_code, http_status FROM chat_chat WHERE id = %s AND status <> 'started'"
    async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as connection, asyncio.timeout(10):
        while (row := await (await connection.execute(query, (call.chat_id,))).fetchone()) is None:
            pass
        return row
