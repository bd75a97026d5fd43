"""Prometheus metrics of chats. Labels are bounded: providers and statuses are few; models and applications are not."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from chat.ledger.events import Outcome

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
OVERHEAD_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)

CHATS = Counter("llmhub_chats", "Chats by how they ended.", ["dialect", "provider", "status"])
REFUSALS = Counter("llmhub_unknown_key_requests", "Chat requests without a key that is known here; not recorded.")
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
ATTEMPT_ERRORS = Counter("llmhub_attempt_errors", "Attempts at providers that failed.", ["provider", "error_type"])
TOKENS = Counter("llmhub_tokens", "Tokens of chats.", ["provider", "direction"])


def observe(outcome: Outcome, *, dialect: str) -> None:
    """Count a chat that has ended."""
    provider = outcome.provider or ""
    CHATS.labels(dialect, provider, outcome.status.value).inc()
    if outcome.latency_ms is not None:
        DURATION.labels(provider).observe(outcome.latency_ms / 1000)
    if outcome.first_token_ms is not None:
        FIRST_TOKEN.labels(provider).observe(outcome.first_token_ms / 1000)
    if outcome.overhead_us is not None:
        OVERHEAD.observe(outcome.overhead_us / 1_000_000)
    if outcome.usage is not None:
        TOKENS.labels(provider, "prompt").inc(outcome.usage.prompt_tokens)
        TOKENS.labels(provider, "completion").inc(outcome.usage.completion_tokens)
    for attempt in outcome.attempts:
        if not attempt.ok:
            ATTEMPT_ERRORS.labels(attempt.provider, attempt.error_type).inc()


def observe_rejected(*, dialect: str) -> None:
    CHATS.labels(dialect, "", "rejected").inc()
