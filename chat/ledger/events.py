"""What the ledger says of each thing that happens: never content, never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Literal
from uuid import UUID

from chat.ledger.canonical import canonical_json, storable_text
from chat.ledger.content import Content
from chat.ledger.entries import LedgerEntry
from chat.ledger.models import ChatStatus, EventKind
from providers.types import NOTHING, Attempt, Usage

MAX_LABEL_CHARS = 512
MAX_PARAMS = 64
MAX_PARAM_NAME_CHARS = 64
MAX_VALUE_CHARS = 64
MAX_INTEGER = 2**53 - 1

Dialect = Literal["openai", "hub"]
ReadSource = Literal["api", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who chats, from where. Shape: `api_key` is the key's prefix; `actor` an admin user who came without a key."""

    application: str | None = None
    api_key: str | None = None
    actor: str | None = None
    end_user: str | None = None
    conversation: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSummary:
    """What a chat asks for. Shape: the values of `params` are kept as text."""

    dialect: Dialect
    model_name: str
    provider: str | None = None
    is_stream: bool = False
    params: Mapping[str, object] = NOTHING
    message_count: int = 0
    tool_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A chat that is about to be tried."""

    chat_id: UUID
    caller: Caller
    asked: RequestSummary
    content: Content
    config_version: str | None = None

    def entry(self) -> LedgerEntry:
        return _entry(EventKind.INTENT, self.chat_id, _opening(self), self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A chat that was refused before any provider was called.

    Shape: with `repeats`, the last of so many chats that were refused within a minute and have no entry of their own.
    """

    chat_id: UUID
    caller: Caller
    asked: RequestSummary
    content: Content
    error_type: str
    error_code: str | None
    http_status: int
    config_version: str | None = None
    repeats: int = 0

    def entry(self) -> LedgerEntry:
        refusal: dict[str, Any] = {
            "status": ChatStatus.REJECTED.value,
            "error": _error(self.error_type, self.error_code),
            "http_status": self.http_status,
        }
        if self.repeats:
            refusal["repeats"] = self.repeats
        return _entry(EventKind.VOID, self.chat_id, _opening(self) | refusal, self.content)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a chat ended. Shape: `content` is None when nothing is known of an answer."""

    chat_id: UUID
    status: ChatStatus
    provider: str | None = None
    model_name: str | None = None
    attempts: tuple[Attempt, ...] = ()
    dropped_params: tuple[str, ...] = ()
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    http_status: int | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    overhead_us: int | None = None
    content: Content | None = None

    def entry(self) -> LedgerEntry:
        said = {
            "status": ChatStatus(self.status).value,
            "served": {"provider": label(self.provider), "model": label(self.model_name)},
            "attempts": [_attempt(attempt) for attempt in self.attempts],
            "dropped_params": [label(name) for name in self.dropped_params[:MAX_PARAMS]],
            "tokens": _tokens(self.usage),
            "cost_nano_usd": _count(self.cost_nano_usd),
            "finish_reason": label(self.finish_reason),
            "native_finish_reason": label(self.native_finish_reason),
            "error": _error(self.error_type, self.error_code) if self.error_type else None,
            "http_status": self.http_status,
            "times": {
                "latency_ms": self.latency_ms,
                "first_token_ms": self.first_token_ms,
                "overhead_us": self.overhead_us,
            },
        }
        return _entry(EventKind.OUTCOME, self.chat_id, said | _committed(self.content), self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Someone is about to be shown a chat's content, or asked for a chat that is not theirs to see."""

    chat_id: UUID
    actor: str
    source: ReadSource
    application: str | None = None
    address: str | None = None
    is_refused: bool = False

    def entry(self) -> LedgerEntry:
        return _entry(EventKind.READ, self.chat_id, _looker(self) | {"refused": self.is_refused})


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Someone is about to be shown a list of chats."""

    actor: str
    source: ReadSource
    filters: Mapping[str, str] = NOTHING
    application: str | None = None
    address: str | None = None

    def entry(self) -> LedgerEntry:
        filters = {name: label(value) for name, value in self.filters.items()}
        return _entry(EventKind.SEARCH, None, _looker(self) | {"filters": filters})


def label(text: str | None) -> str | None:
    """Return a name as an event holds it: storable, and short enough to be indexed."""
    return None if text is None else storable_text(text, max_chars=MAX_LABEL_CHARS)


def _entry(
    kind: EventKind, chat_id: UUID | None, said: Mapping[str, Any], content: Content | None = None
) -> LedgerEntry:
    about = {} if chat_id is None else {"chat": str(chat_id)}
    event = canonical_json({"kind": kind.value, **about, **said})
    kept = content if content is not None and content.body is not None else None
    return LedgerEntry(kind=kind.value, chat_id=chat_id, event=event, content=kept)


def _opening(chat: Intent | Rejection) -> dict[str, Any]:
    caller, asked = chat.caller, chat.asked
    return {
        "app": label(caller.application),
        "key": label(caller.api_key),
        "actor": label(caller.actor),
        "user": label(caller.end_user),
        "conversation": label(caller.conversation),
        "address": label(caller.address),
        "dialect": asked.dialect,
        "asked": {
            "provider": label(asked.provider),
            "model": label(asked.model_name),
            "stream": asked.is_stream,
            "params": _texts(asked.params),
            "messages": asked.message_count,
            "tools": asked.tool_count,
        },
        "config_version": label(chat.config_version),
        **_committed(chat.content),
    }


def _looker(look: Read | Search) -> dict[str, Any]:
    return {
        "actor": label(look.actor),
        "app": label(look.application),
        "source": look.source,
        "address": label(look.address),
    }


def _committed(content: Content | None) -> dict[str, Any]:
    if content is None:
        return {"content_commit": None, "content_bytes": 0}
    committed = {"content_commit": content.commitment, "content_bytes": content.size_bytes}
    return committed | {"kept_commit": content.kept_commitment} if content.kept_commitment else committed


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    """Keep names and values that a caller chose, as bounded text; names in ASCII, as canonical JSON wants them."""
    return {
        name.encode("ascii", "backslashreplace").decode()[:MAX_PARAM_NAME_CHARS]: _value_text(value)
        for name, value in islice(values.items(), MAX_PARAMS)
    }


def _value_text(value: object) -> str:
    """Return a scalar as text; of what may carry content (a long text, a list, an object) only what it is."""
    if isinstance(value, str):
        return storable_text(value) if len(value) <= MAX_VALUE_CHARS else f"({len(value)} characters)"
    if value is None or isinstance(value, bool | int | float | Decimal):
        return str(value)[:MAX_VALUE_CHARS]
    return f"({type(value).__name__})"


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": label(attempt.provider),
        "model": label(attempt.model_name),
        "ok": attempt.ok,
        "error_type": attempt.error_type or None,
        "upstream_status": attempt.upstream_status,
        "latency_ms": attempt.latency_ms,
        "upstream_request_id": label(attempt.upstream_request_id),
        "sent": [{"bytes": body.size_bytes, "commit": body.commitment} for body in attempt.sent],
    }


def _tokens(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "prompt": _count(usage.prompt_tokens),
        "completion": _count(usage.completion_tokens),
        "cached": _count(usage.cached_tokens),
        "reasoning": _count(usage.reasoning_tokens),
        "source": usage.source,
    }


def _count(number: int | None) -> int | None:
    """Keep what a provider counted within what canonical JSON can say."""
    return None if number is None else max(-MAX_INTEGER, min(number, MAX_INTEGER))


def _error(type_: str, code: str | None) -> dict[str, str | None]:
    return {"type": label(type_), "code": label(code)}
