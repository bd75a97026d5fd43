"""Made-up chats, as a company's would be: who asks whom for what, and how it goes."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from chat.ledger.content import make_answer, make_content
from chat.ledger.events import Caller, Intent, Outcome, Rejection, RequestSummary
from chat.ledger.models import ChatStatus
from chat.seeding.history import PastEntry
from llmhub.runtime.uuid7 import uuid7_at
from providers.types import Attempt, Usage

MAX_LATENCY_S = 60
OPEN_CONVERSATIONS = 400
MAX_TURNS = 12
USERS_OF_AN_APPLICATION = 400


@dataclass(frozen=True, slots=True)
class Model:
    """Units: USD per million tokens, None where nobody knows; `first_token_ms` and `token_ms` are medians."""

    provider: str
    name: str
    usd_in: Decimal | None
    usd_out: Decimal | None
    first_token_ms: int
    token_ms: float


MODELS = (
    Model("openai", "gpt-4.1-mini", Decimal("0.40"), Decimal("1.60"), 380, 7.0),
    Model("openai", "gpt-4.1", Decimal("2.00"), Decimal("8.00"), 520, 11.0),
    Model("openai", "o3", Decimal("2.00"), Decimal("8.00"), 4200, 14.0),
    Model("anthropic", "claude-sonnet-4", Decimal("3.00"), Decimal("15.00"), 700, 13.0),
    Model("anthropic", "claude-haiku-3.5", Decimal("0.80"), Decimal("4.00"), 420, 8.0),
    Model("google", "gemini-2.5-flash", Decimal("0.30"), Decimal("2.50"), 350, 5.0),
    Model("google", "gemini-2.5-pro", Decimal("1.25"), Decimal("10.00"), 2600, 10.0),
    Model("mistral", "mistral-small", Decimal("0.10"), Decimal("0.30"), 300, 6.0),
    Model("ollama", "llama3.2", None, None, 900, 28.0),
    Model("ollama", "qwen3", None, None, 1400, 41.0),
)
APPLICATIONS = (
    "support-bot", "sales-assistant", "code-review", "contract-reader", "hr-helpdesk", "invoice-extraction",
    "knowledge-search", "marketing-copy", "meeting-notes", "translation-desk", "incident-triage", "data-catalog",
    "legal-drafts", "product-faq", "release-notes", "sentiment-watch", "sql-assistant", "survey-coding",
    "travel-planner", "voice-agent",
)  # fmt: skip
QUESTIONS = (
    "Summarise this ticket in two sentences for the next shift: the export stops at row 65,536 since the update.",
    "Which of our return policies holds for an order that was opened but not used?",
    "Translate into German, formally: We will be with you on Tuesday between nine and eleven.",
    "Extract the invoice number, the date and the total as JSON.",
    "Write a friendly reminder that the time sheets are due on Friday.",
    "Why would a query with LIMIT 50 read the whole table?",
    "Is clause 7.2 at odds with the notice period in clause 12? Quote both.",
    "Rate the mood of this review from 1 to 5 and say why: the box came late, but the staff were lovely.",
    "Give me three names for an internal tool that finds duplicate customers.",
    "What changed between these two release notes that a customer must know?",
)
ERROR_SPECS = (
    "Certainly. In short: the cause is known, a correction is being tested, and it will be out with the next release.",
    "The policy of the day of purchase holds. An opened item can be returned within thirty days if it is complete.",
    "Here is what you asked for. Please check the figures against the original before you send it on.",
    "There are three points to consider. The first is time, the second is cost, and the third is who decides.",
    "I would answer: thank you for telling us. We have looked into it and put it right; you need not do anything.",
)
SYSTEM = {"role": "system", "content": "You are a careful assistant. Answer briefly, and say so if you do not know."}
FAILURES = (
    # the attempt's error, its upstream status and words; the answer's status, type and code
    ("RateLimitedError", 429, "Too many requests.", 429, "rate_limit_error", "rate_limit_exceeded"),
    ("UpstreamError", 500, "The provider had an error of its own.", 502, "api_error", "provider_error"),
    ("OverloadedError", 529, "Overloaded.", 503, "server_error", "overloaded"),
    ("UnreachableError", None, "The connection was refused.", 502, "api_error", "provider_unreachable"),
    ("ProviderTimeoutError", None, "No answer within 60 s.", 504, "api_error", "provider_timeout"),
    ("CredentialRejectedError", 401, "The key was rejected.", 502, "api_error", "provider_auth_error"),
    ("ContextTooLongError", 400, "The prompt is too long.", 400, "invalid_request_error", "context_length_exceeded"),
)  # fmt: skip
REFUSALS = (
    ("invalid_request_error", "model_not_found", 404),
    ("permission_error", "not_permitted", 403),
    ("invalid_request_error", "forbidden_parameter", 400),
)
STATUSES = {
    ChatStatus.SUCCEEDED: 955,
    ChatStatus.FAILED: 20,
    ChatStatus.REJECTED: 10,
    ChatStatus.TRUNCATED: 6,
    ChatStatus.CLIENT_DISCONNECTED: 8,
    ChatStatus.LOST: 1,
}
FAILOVER_SHARE = 0.03
CONVERSATION_SHARE = 0.55
STREAM_SHARE = 0.45
TOOL_SHARE = 0.03
USER_SHARE = 0.8


def start_times(chats: int, *, since: datetime, until: datetime, rng: random.Random) -> Iterator[datetime]:
    """Yield so many moments in order, more of them by day than by night, and fewer at weekends."""
    hours = max(1, math.ceil((until - since) / timedelta(hours=1)))
    length = (until - since) / hours
    weights = [_busyness(since + length * hour) for hour in range(hours)]
    reached = list(itertools.accumulate(weights))
    begun = 0
    for hour, upto in enumerate(reached):
        end = round(chats * upto / reached[-1])
        for share in sorted(rng.random() for _ in range(end - begun)):
            yield since + length * (hour + share)
        begun = end


def _busyness(at: datetime) -> float:
    by_day = 1.05 - math.cos((at.hour + at.minute / 60 - 2) / 24 * math.tau)
    return by_day * (0.35 if at.weekday() >= 5 else 1.0)


@dataclass(slots=True)
class Thread:
    """One user's talk with one application, which goes on over several chats."""

    caller: Caller
    model: Model
    messages: list[dict[str, Any]] = field(default_factory=list)
    turns: int = 0


class MadeUpChats:
    """Makes up one chat after another."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._open: list[Thread] = []
        self._application_weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(APPLICATIONS))))
        self._statuses = list(STATUSES)
        self._status_weights = list(itertools.accumulate(STATUSES.values()))

    def make(self, at: datetime) -> list[PastEntry]:
        """Return the events of a chat that began then, in order."""
        thread = self._next_thread()
        (status,) = self._rng.choices(self._statuses, cum_weights=self._status_weights)
        chat_id = uuid7_at(int(at.timestamp() * 1000))
        question = self._rng.choice(QUESTIONS)
        thread.messages.append({"role": "user", "content": question})
        thread.turns += 1
        if status is ChatStatus.REJECTED:
            return [PastEntry(at, self._void(chat_id, thread).entry())]
        is_stream = self._rng.random() < STREAM_SHARE
        intent = Intent(chat_id=chat_id, caller=thread.caller, **self._asked(thread, is_stream=is_stream))
        outcome = self._outcome(chat_id, thread, status=status, is_stream=is_stream)
        took = timedelta(milliseconds=outcome.latency_ms or 1)
        return [PastEntry(at, intent.entry()), PastEntry(at + took, outcome.entry())]

    def _next_thread(self) -> Thread:
        rng = self._rng
        if len(self._open) >= OPEN_CONVERSATIONS or (self._open and rng.random() < CONVERSATION_SHARE):
            place = rng.randrange(len(self._open))
            thread = self._open[place]
            if thread.turns + 1 >= MAX_TURNS or rng.random() < 1 / MAX_TURNS:
                self._open[place] = self._open[-1]
                self._open.pop()
            return thread
        return self._begin_thread()

    def _begin_thread(self) -> Thread:
        rng = self._rng
        (rank,) = rng.choices(range(len(APPLICATIONS)), cum_weights=self._application_weights)
        is_conversation = rng.random() < CONVERSATION_SHARE
        caller = Caller(
            application=APPLICATIONS[rank],
            api_key=f"lh_seed{rank:02}",
            end_user=self._end_user(rank) if rng.random() < USER_SHARE else None,
            conversation=f"conv-{rng.getrandbits(48):012x}" if is_conversation else None,
            address=f"10.20.{rank}.{rng.randrange(1, 20)}",
        )
        # Each application keeps to three models of its own, the first most of all.
        model = MODELS[(rank * 3 + rng.choice((0, 0, 0, 1, 2))) % len(MODELS)]
        thread = Thread(caller, model, [SYSTEM] if rng.random() < 0.5 else [])
        if is_conversation:
            self._open.append(thread)
        return thread

    def _end_user(self, rank: int) -> str:
        return f"user-{rank:02}{self._rng.randrange(USERS_OF_AN_APPLICATION):03}@example.com"

    def _asked(self, thread: Thread, *, is_stream: bool) -> dict[str, Any]:
        name = f"{thread.model.provider}/{thread.model.name}"
        body = {"model": name, "messages": thread.messages} | ({"stream": True} if is_stream else {})
        asked = RequestSummary(
            dialect="openai",
            model_name=name,
            is_stream=is_stream,
            params={"temperature": 0.2},
            message_count=len(thread.messages),
        )
        return {"asked": asked, "content": make_content(json.dumps(body, separators=(",", ":")).encode())}

    def _void(self, chat_id: UUID, thread: Thread) -> Rejection:
        type_, code, http_status = self._rng.choice(REFUSALS)
        return Rejection(
            chat_id=chat_id,
            caller=thread.caller,
            **self._asked(thread, is_stream=False),
            error_type=type_,
            error_code=code,
            http_status=http_status,
        )

    def _outcome(self, chat_id: UUID, thread: Thread, *, status: ChatStatus, is_stream: bool) -> Outcome:
        if status is ChatStatus.LOST:
            return Outcome(chat_id=chat_id, status=status, error_type="lost", latency_ms=MAX_LATENCY_S * 1000)
        if status is ChatStatus.FAILED:
            return self._failed(chat_id, thread)
        return self._answered(chat_id, thread, status=status, is_stream=is_stream)

    def _failed(self, chat_id: UUID, thread: Thread) -> Outcome:
        *_, http_status, type_, code = failure = self._rng.choice(FAILURES)
        attempts = tuple(self._failed_attempt(thread.model, failure) for _ in range(self._rng.randrange(1, 4)))
        return Outcome(
            chat_id=chat_id,
            status=ChatStatus.FAILED,
            provider=thread.model.provider,
            model_name=thread.model.name,
            attempts=attempts,
            error_type=type_,
            error_code=code,
            http_status=http_status,
            latency_ms=sum(attempt.latency_ms for attempt in attempts) + 2,
            overhead_us=self._rng.randrange(500, 3000),
            content=make_answer(b"null", attempts),
        )

    def _failed_attempt(self, model: Model, failure: tuple[Any, ...]) -> Attempt:
        error_type, upstream_status, words, *_ = failure
        return Attempt(
            provider=model.provider,
            model_name=model.name,
            ok=False,
            latency_ms=self._rng.randrange(3, 900),
            error_type=error_type,
            error=words,
            upstream_status=upstream_status,
        )

    def _answered(self, chat_id: UUID, thread: Thread, *, status: ChatStatus, is_stream: bool) -> Outcome:
        rng, model = self._rng, thread.model
        is_whole = status is ChatStatus.SUCCEEDED
        tried = (self._failed_attempt(model, rng.choice(FAILURES[:4])),) if rng.random() < FAILOVER_SHARE else ()
        if tried:
            model = MODELS[(MODELS.index(model) + 3) % len(MODELS)]
        usage = Usage(
            prompt_tokens=int(rng.lognormvariate(5.5, 1.1)) + 40 * len(thread.messages),
            completion_tokens=int(rng.lognormvariate(5.0, 1.0)),
            source="provider" if is_whole else "estimated",
        )
        first_ms = int(model.first_token_ms * rng.lognormvariate(0, 0.35))
        took_ms = min(first_ms + int(model.token_ms * usage.completion_tokens), (MAX_LATENCY_S - 10) * 1000)
        attempts = (*tried, _served(model, took_ms))
        message = self._message(thread)
        return Outcome(
            chat_id=chat_id,
            status=status,
            provider=model.provider,
            model_name=model.name,
            attempts=attempts,
            usage=usage,
            cost_nano_usd=_cost_nano_usd(model, usage),
            finish_reason=message["finish_reason"] if is_whole else None,
            http_status=200 if is_whole else None,
            latency_ms=sum(attempt.latency_ms for attempt in attempts) + 2,
            first_token_ms=min(first_ms, took_ms) if is_stream else None,
            overhead_us=rng.randrange(400, 2500),
            content=make_answer(json.dumps({"choices": [message]}, separators=(",", ":")).encode(), attempts),
        )

    def _message(self, thread: Thread) -> dict[str, Any]:
        if self._rng.random() < TOOL_SHARE:
            function = {"name": "lookup_order", "arguments": '{"order":4711}'}
            call = {"id": "call_1", "type": "function", "function": function}
            message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
            thread.messages += [message, {"role": "tool", "tool_call_id": "call_1", "content": '{"state":"shipped"}'}]
            return {"index": 0, "message": message, "finish_reason": "tool_calls"}
        message = {"role": "assistant", "content": self._rng.choice(ERROR_SPECS)}
        thread.messages.append(message)
        return {"index": 0, "message": message, "finish_reason": "stop"}


def _served(model: Model, took_ms: int) -> Attempt:
    return Attempt(provider=model.provider, model_name=model.name, ok=True, latency_ms=took_ms, upstream_status=200)


def _cost_nano_usd(model: Model, usage: Usage) -> int | None:
    if model.usd_in is None or model.usd_out is None:
        return None
    return int((usage.prompt_tokens * model.usd_in + usage.completion_tokens * model.usd_out) * 1000)
