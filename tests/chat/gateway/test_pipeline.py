from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import psycopg
import pytest

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway.pipeline import ChatCall, ChatPipeline
from chat.gateway.responses import served_problem
from chat.ledger.content import make_content
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Caller, RequestSummary
from chat.ledger.lanes import LedgerLanes
from chat.ledger.writer import LedgerWriter, WriterLimits
from llmhub.runtime.database import conninfo
from llmhub.runtime.memory_budget import MemoryBudget, MemoryBudgetExceededError
from llmhub.runtime.uuid7 import uuid7
from providers.error_table import served_error
from providers.manager import get_provider_manager
from providers.resolution.candidates import Plan
from providers.types import ChatChunk, ChatMessage, ChatRequest, ChatResponse, JSONObject
from tests import fakes
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
        asked=RequestSummary(dialect=OpenAIDialect.name, model_name="m"),
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
    chunks = ChatPipeline(manager, ledger).stream(new_call(), plan, whole, served_error)
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
        await pipeline.answer(new_call(), plan, whole, served_error)
        call = new_call()
        proxy.answers.clear()

        with pytest.raises(LedgerUnavailableError):
            await pipeline.answer(call, plan, whole, served_error)

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


LARGE_TEXT = "x" * 3_000_000


@pytest.fixture
async def pipeline(plan: Plan) -> AsyncIterator[ChatPipeline]:
    ledger = LedgerLanes(conninfo())
    await ledger.start()
    pipeline = ChatPipeline(get_provider_manager(), ledger)
    yield pipeline
    await pipeline.finish()
    await ledger.stop()
    await pipeline.manager.close_all()


def said(text: str) -> fakes.Fault:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return fakes.body(json.dumps({"choices": [choice]}).encode())


def streamed(*texts: str) -> fakes.Fault:
    deltas = [{"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]} for text in texts]
    return fakes.pieces(*[b"data: " + json.dumps(delta).encode() + b"\n\n" for delta in deltas], fakes.Signal.STALL)


async def test_an_answer_is_held_in_the_memory_of_the_process_as_long_as_its_chat(pipeline, plan, upstream):
    budget = MemoryBudget(64 * 1024 * 1024)
    call = new_call()
    upstream.fail(said(LARGE_TEXT))

    with budget.holding("ann") as call.memory:
        await pipeline.answer(call, plan, whole, served_error)
        held_bytes = budget.held_bytes

    assert held_bytes > len(LARGE_TEXT)
    assert budget.held_bytes == 0


async def test_an_answer_of_which_nothing_is_left_is_held_no_longer():
    budget, call = MemoryBudget(1000), new_call()
    call.memory = budget.holding("a")

    call.charge(100)
    call.charge(-100)

    assert (budget.held_bytes, call.large_bytes) == (0, 0)


async def test_a_small_answer_is_held_at_no_cost(pipeline, plan):
    call = new_call()
    call.memory = MemoryBudget(0).holding("ann")

    assert await pipeline.answer(call, plan, whole, served_error)


async def test_a_whole_answer_that_there_is_no_memory_for_is_refused_and_asked_of_no_other(pipeline, plan, upstream):
    call = new_call()
    call.memory = MemoryBudget(2 * 1024 * 1024).holding("ann")
    upstream.fail(said(LARGE_TEXT))

    with pytest.raises(MemoryBudgetExceededError):
        await pipeline.answer(call, plan, whole, served_problem)

    assert await recorded_end(call) == ("failed", "hub_overloaded", 503)
    assert [attempt.error_type for attempt in call.journey.attempts] == ["MemoryBudgetExceededError"]


async def test_a_stream_that_there_is_no_memory_for_ends_where_it_is_recorded(pipeline, plan, upstream):
    call = new_call()
    call.memory = MemoryBudget(8 * 1024 * 1024).holding("ann")
    upstream.fail(streamed(*["x" * 100_000] * 300))
    got: list[ChatChunk] = []

    async def take_all() -> None:
        async for chunks in pipeline.stream(call, plan, whole, served_problem):
            got.extend(chunks)

    with pytest.raises(MemoryBudgetExceededError):
        await take_all()

    assert await recorded_end(call) == ("truncated", "hub_overloaded", 503)
    assert await recorded_text(call) == "".join(chunk.choices[0].content or "" for chunk in got) != ""


async def recorded_text(call: ChatCall) -> str:
    query = "SELECT body FROM ledger_chatcontent WHERE chat_id = %s AND part = 'response'"
    async with await psycopg.AsyncConnection.connect(conninfo()) as connection:
        [body] = await (await connection.execute(query, (call.chat_id,))).fetchone()
    return str(json.loads(body)["answer"]["content"])
