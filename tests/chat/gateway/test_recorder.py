from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import psycopg
import pytest

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway.exchange import Exchange, State
from chat.gateway.recorder import Recorder
from chat.ledger.content import make_content
from chat.ledger.events import Caller, RequestSummary
from chat.ledger.lanes import LedgerLanes
from chat.ledger.writer import LedgerWriter, WriterLimits
from llmhub.runtime.database import conninfo
from llmhub.runtime.memory_budget import MemoryBudget
from llmhub.runtime.uuid7 import uuid7
from providers.manager import get_provider_manager
from providers.resolution.plan import Plan
from providers.types import ChatMessage, ChatRequest
from tests import fakes
from tests.chat.ledger.proxy import proxied
from tests.fakes import FakeProvider
from tests.live import LiveHub


def new_exchange(recorder: Recorder, plan: Plan, *, is_stream: bool = False) -> Exchange:
    exchange = Exchange(
        chat_id=uuid7(),
        started_s=time.monotonic(),
        dialect=OpenAIDialect(),
        recorder=recorder,
        caller=Caller(),
        summary=RequestSummary(dialect=OpenAIDialect.name, model_name="m", is_stream=is_stream),
        content=make_content(b"{}"),
        request=ChatRequest(messages=(ChatMessage(role="user", content="Who is there?"),), model_name="m"),
        plan=plan,
    )
    exchange.enter(State.PLANNED)
    return exchange


@pytest.fixture
def plan(hub: LiveHub, upstream: FakeProvider) -> Plan:
    hub.add_provider(upstream, name="up")
    return get_provider_manager().plan(ChatRequest(messages=(), model_name="up/m"))


async def test_a_chat_whose_intent_was_stored_in_silence_ends_as_rejected_and_asks_no_provider(plan, upstream):
    async with proxied(conninfo()) as proxy:
        ledger = LedgerWriter(
            conninfo(host="127.0.0.1", port=proxy.port, sslmode="disable", gssencmode="disable"),
            limits=WriterLimits(silence_timeout_s=0.5),
        )
        await ledger.start()
        recorder, manager = Recorder(ledger), get_provider_manager()
        await new_exchange(recorder, plan).answer(manager)
        exchange = new_exchange(recorder, plan)
        proxy.answers.clear()

        await exchange.answer(manager)

        assert exchange.error.code == "record_unavailable"
        proxy.answers.set()
        assert await recorded_end(exchange) == ("rejected", "record_unavailable", 503)
        assert len(upstream.chats) == 1
        await ledger.stop()
        await manager.close_all()


async def recorded_end(exchange: Exchange) -> tuple[str, str, int]:
    query = "SELECT status, error_code, http_status FROM chat_chat WHERE id = %s AND status <> 'started'"
    async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as connection, asyncio.timeout(10):
        while (row := await (await connection.execute(query, (exchange.chat_id,))).fetchone()) is None:
            pass
        return row


LARGE_TEXT = "x" * 3_000_000


@pytest.fixture
async def recorder(plan: Plan) -> AsyncIterator[Recorder]:
    ledger = LedgerLanes(conninfo())
    await ledger.start()
    recorder = Recorder(ledger)
    yield recorder
    await recorder.finish()
    await ledger.stop()
    await get_provider_manager().close_all()


def said(text: str) -> fakes.Fault:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return fakes.body(json.dumps({"choices": [choice]}).encode())


async def test_an_answer_is_held_in_the_memory_of_the_process_as_long_as_its_chat(recorder, plan, upstream):
    budget, held_bytes = MemoryBudget(64 * 1024 * 1024), []
    exchange = new_exchange(recorder, plan)
    exchange.memory = budget.holding("ann")
    exchange.turn = lambda: None
    upstream.fail(said(LARGE_TEXT))
    exchange.dialect = WatchingDialect(lambda: held_bytes.append(budget.held_bytes))

    await exchange.answer(get_provider_manager())

    assert held_bytes[0] > len(LARGE_TEXT)
    assert budget.held_bytes == 0


class WatchingDialect(OpenAIDialect):
    def __init__(self, look):
        self._look = look

    def answer(self, response, facts, request):
        self._look()
        return super().answer(response, facts, request)


async def test_an_answer_of_which_nothing_is_left_is_held_no_longer(plan):
    budget, exchange = MemoryBudget(1000), new_exchange(Recorder(LedgerLanes(conninfo())), plan)
    exchange.memory = budget.holding("a")

    exchange.charge(100)
    exchange.charge(-100)

    assert (budget.held_bytes, exchange.large_bytes) == (0, 0)


async def test_a_small_answer_is_held_at_no_cost(recorder, plan):
    exchange = new_exchange(recorder, plan)
    exchange.memory = MemoryBudget(0).holding("ann")

    await exchange.answer(get_provider_manager())

    assert exchange.answer_json


async def test_a_whole_answer_that_there_is_no_memory_for_is_refused_and_asked_of_no_other(recorder, plan, upstream):
    exchange = new_exchange(recorder, plan)
    exchange.memory = MemoryBudget(2 * 1024 * 1024).holding("ann")
    upstream.fail(said(LARGE_TEXT))

    await exchange.answer(get_provider_manager())

    assert await recorded_end(exchange) == ("failed", "hub_overloaded", 503)
    assert [attempt.error_type for attempt in exchange.attempts.attempts] == ["MemoryBudgetExceededError"]
