"""Prometheus metrics of chats. Labels are bounded: providers and statuses are few; models and applications are not.

What has labels is looked up once: finding it again costs more than counting.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from chat.ledger.events import Outcome, RequestSummary

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
# One bound at least for each half as much again, from a fifth of a millisecond to ten.
OVERHEAD_SECONDS = (
    *(0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 1),
)

CHATS = Counter("llmhub_chats", "Chats by how they ended.", ["dialect", "provider", "status"])
IN_FLIGHT = Gauge(
    "llmhub_chats_in_flight", "Chats that have begun and not ended.", ["kind"], multiprocess_mode="livesum"
)
REJECTIONS = Counter(
    "llmhub_rejections", "Chats refused before any provider was asked, by the status of the answer.", ["status"]
)
REFUSALS = Counter("llmhub_unknown_key_requests", "Chat requests without a key that is known here; not recorded.")
UNRECORDED = Counter(
    "llmhub_record_failures", "Intents, outcomes and refusals of chats that could not be recorded in time.", ["kind"]
)
DURATION = Histogram(
    "llmhub_chat_duration_seconds", "From the request to the whole answer.", ["provider"], buckets=SECONDS
)
FIRST_TOKEN = Histogram(
    "llmhub_chat_first_token_seconds",
    "From the request to the first content of a stream.",
    ["provider"],
    buckets=SECONDS,
)
OVERHEAD = Histogram(
    "llmhub_chat_overhead_seconds", "The hub's own part of a chat's duration.", buckets=OVERHEAD_SECONDS
)
ATTEMPTS = Counter("llmhub_attempts", "Attempts at providers.", ["provider"])
ATTEMPT_ERRORS = Counter("llmhub_attempt_errors", "Attempts at providers that failed.", ["provider", "error_type"])
TOKENS = Counter("llmhub_tokens", "Tokens of chats.", ["provider", "direction"])
COST = Counter("llmhub_cost_usd", "What chats cost, where the price is known.", ["provider"])
UNPRICED = Counter("llmhub_unpriced_chats", "Chats that used tokens of an unknown price.", ["provider"])

_chats = cache(CHATS.labels)
_in_flight = cache(IN_FLIGHT.labels)
_duration = cache(DURATION.labels)
_first_token = cache(FIRST_TOKEN.labels)
_attempts = cache(ATTEMPTS.labels)
_tokens = cache(TOKENS.labels)
_cost = cache(COST.labels)


def observe_begin(asked: RequestSummary) -> None:
    """Count a chat as under way, until it is observed to have ended or not to have begun after all."""
    _in_flight(_kind(asked)).inc()


def observe_unbegun(asked: RequestSummary) -> None:
    _in_flight(_kind(asked)).dec()


def observe(outcome: Outcome, asked: RequestSummary) -> None:
    """Count a chat that has ended."""
    provider = outcome.provider or ""
    _in_flight(_kind(asked)).dec()
    _chats(asked.dialect, provider, outcome.status.value).inc()
    if outcome.latency_ms is not None:
        _duration(provider).observe(outcome.latency_ms / 1000)
    if outcome.first_token_ms is not None:
        _first_token(provider).observe(outcome.first_token_ms / 1000)
    if outcome.overhead_us is not None:
        OVERHEAD.observe(outcome.overhead_us / 1_000_000)
    _observe_use(outcome, provider)
    for attempt in outcome.attempts:
        _attempts(attempt.provider).inc()
        if not attempt.ok:
            ATTEMPT_ERRORS.labels(attempt.provider, attempt.error_type).inc()


def _observe_use(outcome: Outcome, provider: str) -> None:
    if outcome.usage is None:
        return
    _tokens(provider, "prompt").inc(outcome.usage.prompt_tokens)
    _tokens(provider, "completion").inc(outcome.usage.completion_tokens)
    if outcome.cost_nano_usd is None:
        UNPRICED.labels(provider).inc()
    else:
        _cost(provider).inc(outcome.cost_nano_usd / 1_000_000_000)


def observe_rejected(*, dialect: str, http_status: int) -> None:
    _chats(dialect, "", "rejected").inc()
    REJECTIONS.labels(str(http_status)).inc()


def _kind(asked: RequestSummary) -> str:
    return "stream" if asked.is_stream else "whole"
