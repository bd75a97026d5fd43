"""One span for each chat, and within it one for each attempt at a provider; made once the chat has ended. No content.

Source: OpenTelemetry's semantic conventions for generative AI (status: development), docs/gen-ai/gen-ai-spans.md in
https://github.com/open-telemetry/semantic-conventions-genai, read 2026-11-22. What a model was asked and used stands in
the span of the attempt alone, so that nobody who sums up spans counts it twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from django.conf import settings
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chat.gateway.exchange import Exchange
from chat.ledger.events import Outcome, Rejection, label
from chat.ledger.models import ChatStatus
from providers.backends import BACKENDS
from providers.resolution.plan import Candidate
from providers.types import SAMPLING_PARAMS, Attempt, ChatRequest, ChatResponse

logger = logging.getLogger(__name__)

Attribute = str | bool | int | float | tuple[str, ...]
Found = Mapping[str, Attribute | None]

STOP_S = 3.0
"""How long a collector may take for what is left when the process stops."""

CHOICE_COUNT = SAMPLING_PARAMS["n"].otel_name or ""
FAULTS = (ChatStatus.FAILED, ChatStatus.TRUNCATED)
PORTS = {"http": 80, "https": 443}


def exporting_tracer() -> SpanTracer:
    """Return a tracer that sends spans in batches, from a thread of its own, as the variables OTEL_* say."""
    return SpanTracer(BatchSpanProcessor(OTLPSpanExporter()))


class SpanTracer:
    def __init__(self, processor: SpanProcessor) -> None:
        ours = Resource({"service.name": "llmhub", "service.version": settings.VERSION})
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("llmhub")
        self._propagator = TraceContextTextMapPropagator()

    def trace(self, exchange: Exchange, outcome: Outcome, response: ChatResponse | None) -> None:
        """Make the spans of a chat that has ended; where that fails, the chat is none the worse for it."""
        try:
            self._trace(exchange, outcome, response)
        except Exception:
            logger.exception("The spans of a chat could not be made.")

    def _trace(self, exchange: Exchange, outcome: Outcome, response: ChatResponse | None) -> None:
        span = self._begin(exchange)
        _describe(span, _of_outcome(outcome))
        for (candidate, began_s), attempt in zip(exchange.attempts.trail, exchange.attempts.attempts, strict=False):
            step = self._begin_attempt(exchange, candidate, parent=span, began_s=began_s)
            if attempt is exchange.attempts.attempts[-1]:
                _describe(step, _of_answer(outcome, response))
                _describe(step, _of_first_token(exchange, began_s=began_s))
            _end_attempt(step, attempt, began_s=began_s)
        if outcome.status in FAULTS:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_epoch_ns(time.monotonic()))

    def trace_rejected(self, exchange: Exchange, rejection: Rejection) -> None:
        """Make the span of a chat that was refused; as `trace`, at no risk."""
        try:
            self._trace_rejected(exchange, rejection)
        except Exception:
            logger.exception("The span of a refused chat could not be made.")

    def _trace_rejected(self, exchange: Exchange, rejection: Rejection) -> None:
        span = self._begin(exchange)
        _describe(
            span,
            {
                "llmhub.chat.status": ChatStatus.REJECTED.value,
                "error.type": rejection.error_code or rejection.error_type,
            },
        )
        span.end(_epoch_ns(time.monotonic()))

    def stop(self) -> None:
        """Send what is left, for a few seconds at most."""
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(STOP_S)

    def _begin(self, exchange: Exchange) -> Span:
        carrier = {"traceparent": exchange.traceparent} if exchange.traceparent else {}
        asked = exchange.summary
        span = self._tracer.start_span(
            _name(asked.model_name),
            context=self._propagator.extract(carrier, context=Context()),
            kind=SpanKind.SERVER,
            start_time=_epoch_ns(exchange.started_s),
        )
        _describe(
            span,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": label(asked.model_name) or None,
                "gen_ai.request.stream": asked.is_stream or None,
                "gen_ai.conversation.id": label(exchange.caller.conversation),
                "llmhub.chat.id": str(exchange.chat_id),
                "llmhub.dialect": asked.dialect,
                "llmhub.application": label(exchange.caller.application),
            },
        )
        return span

    def _begin_attempt(self, exchange: Exchange, candidate: Candidate, *, parent: Span, began_s: float) -> Span:
        span = self._tracer.start_span(
            _name(candidate.model_name),
            context=set_span_in_context(parent, Context()),
            kind=SpanKind.CLIENT,
            start_time=_epoch_ns(began_s),
        )
        _describe(span, _of_target(candidate))
        if exchange.request is not None:
            _describe(span, _of_request(exchange.request, is_stream=exchange.summary.is_stream))
        return span


def _end_attempt(span: Span, attempt: Attempt, *, began_s: float) -> None:
    if not attempt.ok:
        _describe(span, {"error.type": attempt.error_type, "http.response.status_code": attempt.upstream_status})
        span.set_status(Status(StatusCode.ERROR))
    span.end(_epoch_ns(began_s + attempt.latency_ms / 1000))


def _describe(span: Span, attributes: Found) -> None:
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})


def _name(model_name: str) -> str:
    return f"chat {label(model_name)}" if model_name else "chat"


def _epoch_ns(monotonic_s: float) -> int:
    return time.time_ns() - round((time.monotonic() - monotonic_s) * 1_000_000_000)


def _of_outcome(outcome: Outcome) -> Found:
    return {
        "llmhub.chat.status": outcome.status.value,
        "llmhub.provider": outcome.provider,
        "llmhub.attempts": len(outcome.attempts),
        "llmhub.cost_usd": None if outcome.cost_nano_usd is None else outcome.cost_nano_usd / 1_000_000_000,
        "llmhub.overhead_ms": None if outcome.overhead_us is None else outcome.overhead_us / 1000,
        "error.type": outcome.error_code or outcome.error_type,
    }


def _of_target(candidate: Candidate) -> Found:
    provider = candidate.provider
    url = urlsplit(provider.base_url)
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": BACKENDS[provider.provider_type].otel_name or provider.provider_type.value,
        "gen_ai.request.model": label(candidate.model_name) or None,
        "llmhub.provider": provider.name,
        "server.address": url.hostname,
        "server.port": url.port or PORTS.get(url.scheme),
    }


def _of_request(request: ChatRequest, *, is_stream: bool) -> Found:
    params = {
        otel_name: value
        for name, value in request.sampling.given().items()
        if (otel_name := SAMPLING_PARAMS[name].otel_name)
    }
    if params.get(CHOICE_COUNT) == 1:
        del params[CHOICE_COUNT]
    return {"gen_ai.request.stream": is_stream or None, **params}


def _of_first_token(exchange: Exchange, *, began_s: float) -> Found:
    if exchange.first_token_ms is None:
        return {}
    return {
        "gen_ai.response.time_to_first_chunk": max(0.0, exchange.started_s + exchange.first_token_ms / 1000 - began_s)
    }


def _of_answer(outcome: Outcome, response: ChatResponse | None) -> Found:
    usage = outcome.usage
    reasons = tuple(choice.finish_reason for choice in response.choices if choice.finish_reason) if response else ()
    return {
        "gen_ai.response.model": label(response.model_name) or None if response else None,
        "gen_ai.response.id": label(response.upstream_id) if response else None,
        "gen_ai.response.finish_reasons": reasons or None,
        "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens if usage else None,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens if usage else None,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens if usage else None,
    }
