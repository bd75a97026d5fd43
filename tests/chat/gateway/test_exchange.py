from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import dataclass, field

import pytest

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway.exchange import ENDINGS, TRANSITIONS, Exchange, IllegalTransitionError, Reason, State
from chat.gateway.recorder import Recorder
from chat.ledger.content import make_content
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Caller, RequestSummary
from llmhub.runtime.memory_budget import MemoryBudget
from llmhub.runtime.uuid7 import uuid7
from providers.errors import TruncatedReplyError, UpstreamError
from providers.types import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    PartDelta,
    PartStarted,
    TextPart,
    Usage,
)

WORDS = ("Once", " upon", " a", " time")
FOREVER = "forever"
"""In a script: wait for what never comes."""


class KeptLedger:
    """Keeps what is appended in memory; `refused` are the kinds that it does not take."""

    is_up = True

    def __init__(self, *refused: str) -> None:
        self.events: list[dict] = []
        self.contents: list[bytes] = []
        self.late: list[str] = []
        self._refused = refused

    async def append(self, entry, *, or_late=None):
        await asyncio.sleep(0)
        if entry.kind in self._refused:
            raise LedgerUnavailableError("away")
        self.events.append(json.loads(entry.event))
        self.contents.append(entry.content.body if entry.content else b"")

    def append_when_up(self, entry):
        self.late.append(entry.kind)

    @property
    def kinds(self) -> list[str]:
        return [event["kind"] for event in self.events]

    @property
    def end(self) -> tuple[str, str | None]:
        error = self.events[-1].get("error") or {}
        return self.events[-1]["status"], error.get("code")

    @property
    def answer(self) -> dict | None:
        return json.loads(self.contents[-1])["answer"]


@dataclass
class ScriptedUpstream:
    """Answers as its script says: pieces of text, an exception, or FOREVER."""

    script: tuple = WORDS
    calls: int = 0
    waits: asyncio.Event = field(default_factory=asyncio.Event)

    async def chat(self, request, **_):
        texts = [piece async for piece in self._pieces()]
        choice = Choice(parts=(TextPart("".join(texts)),), finish_reason="stop")
        return ChatResponse(choices=(choice,), model_name="m", usage=Usage(prompt_tokens=1, completion_tokens=2))

    async def open_stream(self, request, **_):
        return ScriptedStream(self._pieces())

    async def _pieces(self):
        self.calls += 1
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if step is FOREVER:
                self.waits.set()
                await asyncio.Event().wait()
            yield step


class ScriptedStream:
    dropped_params = ()

    def __init__(self, pieces):
        self._pieces = pieces
        self._deltas = [PartStarted(0, 0, TextPart(""))]

    async def next(self):
        if self._deltas is None:
            return ()
        text = await anext(self._pieces, None)
        if text is None:
            deltas, self._deltas = [*self._deltas, ChoiceFinished(0, "stop")], None
            return deltas
        deltas, self._deltas = [*self._deltas, PartDelta(0, 0, text)], []
        return deltas

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._pieces.aclose()


def new_exchange(ledger, *, is_stream=False, deadline_s=math.inf, memory_bytes=10_000_000) -> Exchange:
    exchange = Exchange(
        chat_id=uuid7(),
        started_s=time.monotonic(),
        dialect=OpenAIDialect(),
        recorder=Recorder(ledger),
        caller=Caller(),
        summary=RequestSummary(dialect="openai", model_name="m", is_stream=is_stream),
        content=make_content(b"{}"),
        request=ChatRequest(messages=(ChatMessage("user", "Go on."),), model_name="m"),
        deadline_s=deadline_s if deadline_s != math.inf else 3600,
        memory=MemoryBudget(memory_bytes).holding("ann"),
    )
    exchange.enter(State.PLANNED)
    return exchange


async def until_ended(exchange, upstream, *, stop=None) -> bytes:
    """Run an exchange to its end, stopped once its upstream waits; return what its caller got of a stream."""
    if exchange.summary.is_stream:
        task = exchange.begin_stream(upstream)
        reading = asyncio.create_task(read_all(exchange))
    else:
        task = asyncio.create_task(exchange.answer(upstream))
        reading = asyncio.create_task(asyncio.sleep(0, b""))
    if stop is not None:
        await asyncio.wait_for(upstream.waits.wait(), 5)
        await asyncio.sleep(0)
        exchange.stop(stop)
    await asyncio.wait({task}, timeout=5)
    return await reading


async def read_all(exchange) -> bytes:
    frames = b""
    while piece := await exchange.get():
        frames += piece
    return frames


def frames_of(stream: bytes) -> list[dict]:
    frames = [frame.removeprefix(b"data: ") for frame in stream.split(b"\n\n") if frame]
    return [json.loads(frame) for frame in frames if frame != b"[DONE]"]


def text_of(stream: bytes) -> str:
    return "".join(f["choices"][0]["delta"].get("content", "") for f in frames_of(stream) if f.get("choices"))


# reason, what upstream does, what stops it: status and code recorded for a whole answer, for a stream
ENDS = [
    pytest.param(WORDS, None, Reason.WHOLE, ("succeeded", None), ("succeeded", None), id="whole"),
    pytest.param(
        (UpstreamError("no"),), None, Reason.FAILED, ("failed", "provider_error"), ("failed", "provider_error"),
        id="failed-before-content",
    ),
    pytest.param(
        ("Once", UpstreamError("no")), None, Reason.FAILED, ("failed", "provider_error"),
        ("truncated", "provider_error"), id="failed-amid",
    ),
    pytest.param(
        (TruncatedReplyError("cut"),), None, Reason.FAILED, ("truncated", "truncated_reply"),
        ("truncated", "truncated_reply"), id="cut-off",
    ),
    pytest.param(
        ("Once", RuntimeError("canary")), None, Reason.FAULT, ("failed", "internal_error"),
        ("truncated", "internal_error"), id="fault",
    ),
    pytest.param(
        ("Once", FOREVER), Reason.CLIENT_GONE, Reason.CLIENT_GONE, ("client_disconnected", None),
        ("client_disconnected", None), id="client-gone",
    ),
    pytest.param(
        ("Once", FOREVER), Reason.DEADLINE, Reason.DEADLINE, ("failed", "provider_timeout"),
        ("truncated", "provider_timeout"), id="deadline",
    ),
    pytest.param(
        (FOREVER,), Reason.DEADLINE, Reason.DEADLINE, ("failed", "provider_timeout"), ("failed", "provider_timeout"),
        id="deadline-before-content",
    ),
    pytest.param(
        ("Once", FOREVER), Reason.STOPPING, Reason.STOPPING, ("failed", "hub_stopping"), ("truncated", "hub_stopping"),
        id="stopping",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("script", "stop", "reason", "whole", "streamed"), ENDS)
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
async def test_every_end_is_recorded_once_as_the_table_says(script, stop, reason, whole, streamed, is_stream):
    ledger = KeptLedger()
    exchange = new_exchange(ledger, is_stream=is_stream)

    stream = await until_ended(exchange, ScriptedUpstream(script), stop=stop)

    assert (exchange.state, exchange.reason) == (State.ENDED, reason)
    assert ledger.kinds == ["intent", "outcome"]
    assert ledger.end == (streamed if is_stream else whole)
    if is_stream:
        assert [f["error"]["code"] for f in frames_of(stream) if "error" in f] == [c for _, c in [streamed] if c]
        assert stream.endswith(b"data: [DONE]\n\n") is (reason is Reason.WHOLE)


def test_every_reason_has_a_meaning_and_every_state_its_successors():
    assert set(ENDINGS) == set(Reason)
    assert set(TRANSITIONS) == set(State)
    assert all(State.ENDED in successors for state, successors in TRANSITIONS.items() if state is not State.ENDED)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("following", State)
def test_only_what_the_table_allows_may_follow(state, following):
    exchange = new_exchange(KeptLedger())
    exchange.state = state

    if following in TRANSITIONS[state]:
        exchange.enter(following)
        assert exchange.state is following
    else:
        with pytest.raises(IllegalTransitionError, match=f"{state.name} cannot become {following.name}"):
            exchange.enter(following)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
async def test_no_provider_is_asked_while_the_intent_cannot_be_recorded(is_stream):
    ledger, upstream = KeptLedger("intent"), ScriptedUpstream()
    exchange = new_exchange(ledger, is_stream=is_stream)

    await until_ended(exchange, upstream)

    assert (exchange.reason, exchange.error.code, upstream.calls, ledger.events) == (
        Reason.REFUSED,
        "record_unavailable",
        0,
        [],
    )


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])
async def test_nobody_has_a_whole_answer_whose_outcome_cannot_be_recorded(is_stream):
    exchange = new_exchange(KeptLedger("outcome"), is_stream=is_stream)

    stream = await until_ended(exchange, ScriptedUpstream())

    assert exchange.error.code == "record_unavailable"
    assert b"[DONE]" not in stream
    assert b'"finish_reason":"stop"' not in stream


@pytest.mark.parametrize("reason", [Reason.CLIENT_GONE, Reason.STOPPING])
async def test_who_is_cut_off_while_the_record_is_away_ends_all_the_same(reason):
    exchange = new_exchange(KeptLedger("outcome"), is_stream=True)

    await until_ended(exchange, ScriptedUpstream(("Once", FOREVER)), stop=reason)

    assert (exchange.state, exchange.reason) == (State.ENDED, reason)


async def test_the_end_of_a_stream_waits_for_its_outcome():
    ledger = KeptLedger()
    exchange = new_exchange(ledger, is_stream=True)
    exchange.begin_stream(ScriptedUpstream())

    while b'"finish_reason":"stop"' not in (piece := await exchange.get()):
        assert "outcome" not in ledger.kinds
        assert b"[DONE]" not in piece

    assert ledger.kinds == ["intent", "outcome"]


async def test_what_was_handed_on_is_what_is_recorded():
    ledger = KeptLedger()
    exchange = new_exchange(ledger, is_stream=True)

    stream = await until_ended(exchange, ScriptedUpstream((*WORDS, UpstreamError("no"))))

    assert ledger.answer["choices"][0]["message"]["content"] == text_of(stream) == "".join(WORDS)
    assert ledger.answer["error"]["code"] == "provider_error"


async def test_a_slow_reader_holds_up_the_provider():
    upstream = ScriptedUpstream(("a", "b", "c", FOREVER))
    exchange = new_exchange(KeptLedger(), is_stream=True)
    exchange.begin_stream(upstream)

    for _ in range(50):
        await asyncio.sleep(0)
    assert not upstream.waits.is_set()

    for _ in range(3):
        await exchange.get()
    await asyncio.wait_for(upstream.waits.wait(), 5)
    await exchange.aclose()


async def test_a_reader_that_takes_nothing_is_held_to_the_deadline():
    ledger = KeptLedger()
    exchange = new_exchange(ledger, is_stream=True, deadline_s=0.05)

    await asyncio.wait({exchange.begin_stream(ScriptedUpstream(("a", "b", "c")))}, timeout=5)

    assert ledger.end == ("truncated", "provider_timeout")
    assert b"provider_timeout" in await read_all(exchange)


async def test_the_first_reason_to_stop_counts():
    exchange = new_exchange(KeptLedger(), is_stream=True)
    upstream = ScriptedUpstream((FOREVER,))
    task = exchange.begin_stream(upstream)
    await upstream.waits.wait()

    exchange.stop(Reason.CLIENT_GONE)
    exchange.stop(Reason.STOPPING)
    await asyncio.wait({task})

    assert exchange.reason is Reason.CLIENT_GONE


async def test_an_exchange_that_has_ended_is_not_stopped():
    ledger = KeptLedger()
    exchange = new_exchange(ledger)
    await exchange.answer(ScriptedUpstream())

    exchange.stop(Reason.STOPPING)
    await asyncio.sleep(0)

    assert (exchange.reason, ledger.end) == (Reason.WHOLE, ("succeeded", None))


async def test_what_others_wait_for_is_given_back_at_the_end():
    budget = MemoryBudget(10_000_000)
    exchange = new_exchange(KeptLedger())
    exchange.memory = budget.holding("ann")
    exchange.memory.take(1000)
    ended = []
    exchange.turn = lambda: ended.append("turn")

    await exchange.answer(ScriptedUpstream())

    assert (budget.held_bytes, ended) == (0, ["turn"])


async def test_a_stream_without_room_for_its_answer_ends_where_it_is_recorded():
    ledger = KeptLedger()
    exchange = new_exchange(ledger, is_stream=True, memory_bytes=4_000_000)

    stream = await until_ended(exchange, ScriptedUpstream(("x" * 100_000,) * 100))

    assert ledger.end == ("truncated", "hub_overloaded")
    assert ledger.answer["choices"][0]["message"]["content"] == text_of(stream) != ""


async def test_a_fault_is_logged_without_what_the_caller_is_told(caplog):
    exchange = new_exchange(KeptLedger())

    await exchange.answer(ScriptedUpstream((RuntimeError("canary"),)))

    assert "A chat failed." in caplog.text
    assert "canary" not in exchange.error.message
