"""Entries of a chat, as the pipeline makes them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chat.ledger.content import make_answer, make_content
from chat.ledger.entries import LedgerEntry
from chat.ledger.events import Caller, Intent, Outcome, Rejection, RequestSummary
from chat.ledger.models import ChatStatus
from llmhub.runtime.uuid7 import uuid7
from providers.types import Attempt, Usage

REQUEST = b'{"model":"acme/small","messages":[{"role":"user","content":"hello"}]}'
ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"hi"}}]}'
CALLER = Caller(application="demo", api_key="lh_demo", end_user="ann", conversation="c-1", address="10.0.0.7")
ASKED = RequestSummary(dialect="openai", model_name="acme/small", params={"temperature": 0.5}, message_count=1)
SERVED = Attempt(provider="acme", model_name="small", ok=True, latency_ms=12, upstream_status=200)


def new_chat_id() -> UUID:
    return uuid7()


def make_intent(chat_id: UUID, **overrides: Any) -> LedgerEntry:
    fields: dict[str, Any] = {"caller": CALLER, "asked": ASKED, "content": make_content(REQUEST)}
    return Intent(chat_id=chat_id, **fields | overrides).entry()


def make_void(chat_id: UUID, **overrides: Any) -> LedgerEntry:
    fields: dict[str, Any] = {
        "caller": CALLER,
        "asked": ASKED,
        "content": make_content(REQUEST),
        "error_type": "not_found_error",
        "error_code": "model_not_found",
        "http_status": 404,
    }
    return Rejection(chat_id=chat_id, **fields | overrides).entry()


def make_outcome(chat_id: UUID, **overrides: Any) -> LedgerEntry:
    fields: dict[str, Any] = {
        "status": ChatStatus.SUCCEEDED,
        "provider": "acme",
        "model_name": "small",
        "attempts": (SERVED,),
        "usage": Usage(prompt_tokens=3, completion_tokens=5),
        "cost_nano_usd": 1200,
        "finish_reason": "stop",
        "http_status": 200,
        "latency_ms": 20,
        "overhead_us": 800,
        "content": make_answer(ANSWER),
    }
    return Outcome(chat_id=chat_id, **fields | overrides).entry()


def make_lost(chat_id: UUID) -> LedgerEntry:
    return Outcome(chat_id=chat_id, status=ChatStatus.LOST, error_type="lost").entry()
