"""Spans of chats: what a collector is told, and that a chat never suffers from it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway import tracing
from chat.gateway.exchange import Exchange, State
from chat.gateway.recorder import Recorder
from chat.gateway.spans import SpanTracer, exporting_tracer
from chat.ledger.content import make_content
from chat.ledger.events import Caller, RequestSummary
from chat.ledger.writer import LedgerWriter
from llmhub.runtime.database import conninfo
from llmhub.runtime.uuid7 import uuid7
from providers.error_table import served_error
from providers.errors import ProviderError
from providers.manager import get_provider_manager
from providers.types import ChatMessage, ChatRequest, Sampling
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub

CANARY = "the-canary-prompt"
TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BY_HAND = """
import sys
from chat.gateway import tracing
sys.exit(tracing.find_tracer("") is not None or "opentelemetry" in sys.modules)
"""


@dataclass
class Traced:
    """A recorder, and the spans that it has made."""

    recorder: Recorder
    exporter: InMemorySpanExporter

    @property
    def chat(self) -> ReadableSpan:
        return self.exporter.get_finished_spans()[-1]

    @property
    def attempts(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()[:-1]

    async def ask(self, exchange: Exchange, model_name: str = "up/m") -> None:
        manager = get_provider_manager()
        exchange.recorder = self.recorder
        exchange.plan = manager.plan(ChatRequest(messages=(), model_name=model_name))
        exchange.enter(State.PLANNED)
        if not exchange.summary.is_stream:
            await exchange.answer(manager)
            return
        exchange.begin_stream(manager)
        while await exchange.get():
            pass

    async def reject(self, exchange: Exchange) -> None:
        await self.recorder.reject(exchange, served_error(ProviderError("No.", provider="")))


def new_exchange(**fields: object) -> Exchange:
    message = ChatMessage(role="user", content=CANARY)
    return Exchange(
        **{
            "chat_id": uuid7(),
            "started_s": asyncio.get_running_loop().time(),
            "dialect": OpenAIDialect(),
            "recorder": None,
            "caller": Caller(application="desk", conversation="c-1"),
            "summary": RequestSummary(dialect="openai", model_name="up/m"),
            "content": make_content(b"{}"),
            "request": ChatRequest(
                messages=(message,), model_name="up/m", sampling=Sampling(temperature=0.5), user=CANARY
            ),
            **fields,
        }
    )


@pytest.fixture
def provider(hub: LiveHub, upstream: FakeProvider) -> FakeProvider:
    hub.add_provider(upstream, name="up")
    return upstream


@pytest.fixture
async def traced(provider: FakeProvider) -> AsyncIterator[Traced]:
    exporter = InMemorySpanExporter()
    manager, ledger = get_provider_manager(), LedgerWriter(conninfo())
    await ledger.start()
    yield Traced(Recorder(ledger, tracer=SpanTracer(SimpleSpanProcessor(exporter))), exporter)
    await ledger.stop()
    await manager.close_all()


async def test_a_chat_is_a_span_with_one_for_its_attempt_within(traced):
    exchange = new_exchange()

    await traced.ask(exchange)

    (attempt,) = traced.attempts
    assert (traced.chat.name, traced.chat.kind, traced.chat.parent) == ("chat up/m", SpanKind.SERVER, None)
    assert (attempt.name, attempt.kind, attempt.parent) == ("chat m", SpanKind.CLIENT, traced.chat.context)
    assert traced.chat.start_time <= attempt.start_time <= attempt.end_time
    assert UUID(traced.chat.attributes["llmhub.chat.id"]) == exchange.chat_id
    assert traced.chat.attributes["llmhub.chat.status"] == "succeeded"
    assert traced.chat.attributes["gen_ai.conversation.id"] == "c-1"


async def test_what_a_model_was_asked_and_used_stands_with_the_attempt(traced, provider):
    await traced.ask(new_exchange())

    told = traced.attempts[0].attributes
    assert told["gen_ai.operation.name"] == "chat"
    assert (told["gen_ai.provider.name"], told["llmhub.provider"]) == ("custom", "up")
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("m", "m")
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.response.finish_reasons"] == ("stop",)
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["gen_ai.usage.output_tokens"] > 0
    assert f"{told['server.address']}:{told['server.port']}" in provider.url
    assert not [name for name in traced.chat.attributes if name.startswith("gen_ai.usage")]


async def test_no_span_holds_content(traced, provider):
    provider.fail(fakes.status(400, CANARY))
    await traced.ask(new_exchange())
    await traced.ask(new_exchange())

    text = "".join(span.to_json() for span in traced.exporter.get_finished_spans())
    assert CANARY not in text
    assert "Hello" not in text


@pytest.fixture
def failing(hub: LiveHub, provider: FakeProvider) -> Iterator[None]:
    """Two providers of one model, of which the first fails."""
    with FakeProvider("custom") as other:
        hub.add_provider(provider, name="second", models=("both",), priority=2)
        hub.add_provider(other, name="first", models=("both",), priority=1)
        other.fail(fakes.status(503))
        yield


async def test_each_attempt_has_a_span_of_its_own(traced, failing):
    await traced.ask(new_exchange(), model_name="both")

    failed, served = traced.attempts
    assert failed.attributes["error.type"] == "OverloadedError"
    assert failed.attributes["http.response.status_code"] == 503
    assert failed.status.status_code is StatusCode.ERROR
    assert served.attributes["llmhub.provider"] == "second"
    assert traced.chat.attributes["llmhub.attempts"] == 2
    assert traced.chat.status.status_code is StatusCode.UNSET


async def test_a_failed_chat_is_marked_so(traced, provider):
    provider.fail(fakes.status(500))

    await traced.ask(new_exchange())

    assert traced.chat.status.status_code is StatusCode.ERROR
    assert traced.chat.attributes["error.type"] == "provider_error"


async def test_a_refused_chat_is_a_span_alone(traced):
    await traced.reject(new_exchange())

    assert traced.attempts == ()
    assert traced.chat.attributes["llmhub.chat.status"] == "rejected"


async def test_a_stream_tells_when_its_first_content_came(traced):
    exchange = new_exchange(summary=RequestSummary(dialect="openai", model_name="up/m", is_stream=True))

    await traced.ask(exchange)

    assert traced.attempts[0].attributes["gen_ai.request.stream"] is True
    assert traced.attempts[0].attributes["gen_ai.response.time_to_first_chunk"] >= 0


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [(f"00-{TRACE_ID}-{PARENT_ID}-01", TRACE_ID), ("00-not-a-trace", None), (None, None)],
)
async def test_the_trace_of_a_caller_goes_on(traced, traceparent, trace_id):
    await traced.ask(new_exchange(traceparent=traceparent))

    if trace_id:
        assert f"{traced.chat.context.trace_id:032x}" == trace_id
        assert f"{traced.chat.parent.span_id:016x}" == PARENT_ID
    else:
        assert traced.chat.parent is None


async def test_a_name_that_no_collector_could_read_harms_no_chat(traced):
    exchange = new_exchange(summary=RequestSummary(dialect="openai", model_name="\ud800\x00" + "x" * 9999))

    await traced.ask(exchange)

    assert len(traced.chat.attributes["gen_ai.request.model"].encode()) < 4096


class BrokenProcessor(SpanProcessor):
    def on_start(self, *_: object, **__: object) -> None:
        raise RuntimeError


async def test_spans_that_cannot_be_made_harm_neither_answers_nor_refusals(traced, caplog):
    traced.recorder.tracer = SpanTracer(BrokenProcessor())

    await traced.ask(new_exchange())
    await traced.reject(new_exchange())

    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["chat.gateway.spans"] * 2


class Collector(BaseHTTPRequestHandler):
    """Takes what is exported over HTTP."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.received = []
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_collector_receives_the_spans(traced, collector):
    traced.recorder.tracer = tracing.find_tracer("set")

    await traced.ask(new_exchange())
    await asyncio.to_thread(traced.recorder.tracer.stop)

    (path, request), *_ = collector.received
    resource = request.resource_spans[0]
    names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert path == "/v1/traces"
    assert names["service.name"] == "llmhub"
    assert [span.name for span in resource.scope_spans[0].spans] == ["chat m", "chat up/m"]


async def test_a_chat_is_none_the_worse_for_a_collector_that_is_away(traced, monkeypatch, unused_tcp_port):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    traced.recorder.tracer = exporting_tracer()

    await traced.ask(new_exchange())

    async with asyncio.timeout(10):
        await asyncio.to_thread(traced.recorder.tracer.stop)


def test_without_a_collector_nothing_is_loaded():
    result = subprocess.run([sys.executable, "-c", BY_HAND], check=False)

    assert result.returncode == 0


def test_packages_that_are_missing_are_named(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "chat.gateway.spans", None)

    assert tracing.find_tracer("http://collector") is None
    assert "pip install --no-deps --require-hashes -r requirements-otel.lock" in caplog.text
