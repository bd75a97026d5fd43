"""The events of the ledger, which hold neither content nor secrets."""

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
    """Who chats, from where. Shape: `api_key` is the key's prefix; `actor` is an admin user without a key."""

    application: str | None = None
    api_key: str | None = None
    actor: str | None = None
    end_user: str | None = None
    conversation: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSummary:
    """The request of a chat, without its content. Shape: the values of `params` are stored as text."""

    dialect: Dialect
    model_name: str
    provider: str | None = None
    is_stream: bool = False
    params: Mapping[str, object] = NOTHING
    message_count: int = 0
    tool_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A chat before the first call of a provider."""

    chat_id: UUID
    caller: Caller
    asked: RequestSummary
    content: Content
    config_version: str | None = None

    def entry(self) -> LedgerEntry:
        return _entry(EventKind.INTENT, self.chat_id, _opening_fields(self), self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A chat that the hub rejected before it called a provider.

    Shape: `repeats` counts the chats rejected within a minute that this entry stands for; they have no entries.
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
        rejection: dict[str, Any] = {
            "status": ChatStatus.REJECTED.value,
            "error": _error(self.error_type, self.error_code),
            "http_status": self.http_status,
        }
        if self.repeats:
            rejection["repeats"] = self.repeats
        return _entry(EventKind.VOID, self.chat_id, _opening_fields(self) | rejection, self.content)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The end of a chat. Shape: `content` is None if the answer is unknown."""

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
        fields = {
            "status": ChatStatus(self.status).value,
            "served": {"provider": self.provider, "model": self.model_name},
            "attempts": [_attempt(attempt) for attempt in self.attempts],
            "dropped_params": list(self.dropped_params[:MAX_PARAMS]),
            "tokens": _tokens(self.usage),
            "cost_nano_usd": _count(self.cost_nano_usd),
            "finish_reason": self.finish_reason,
            "native_finish_reason": self.native_finish_reason,
            "error": _error(self.error_type, self.error_code) if self.error_type else None,
            "http_status": self.http_status,
            "times": {
                "latency_ms": self.latency_ms,
                "first_token_ms": self.first_token_ms,
                "overhead_us": self.overhead_us,
            },
        }
        return _entry(EventKind.OUTCOME, self.chat_id, fields | _commitment_fields(self.content), self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A read of one chat's content, recorded before it is shown; or a refused read of another's chat."""

    chat_id: UUID
    actor: str
    source: ReadSource
    application: str | None = None
    address: str | None = None
    is_refused: bool = False

    def entry(self) -> LedgerEntry:
        return _entry(EventKind.READ, self.chat_id, _reader_fields(self) | {"refused": self.is_refused})


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search in the history of chats, recorded before its results are shown."""

    actor: str
    source: ReadSource
    filters: Mapping[str, str] = NOTHING
    application: str | None = None
    address: str | None = None

    def entry(self) -> LedgerEntry:
        return _entry(EventKind.SEARCH, None, _reader_fields(self) | {"filters": dict(self.filters)})


def label(text: str | None) -> str | None:
    """Return a name as an event stores it: valid in PostgreSQL, and short enough for an index."""
    return None if text is None else storable_text(text, max_chars=MAX_LABEL_CHARS)


def _entry(
    kind: EventKind, chat_id: UUID | None, fields: Mapping[str, Any], content: Content | None = None
) -> LedgerEntry:
    chat_field = {} if chat_id is None else {"chat": str(chat_id)}
    event = canonical_json(_labelled({"kind": kind.value, **chat_field, **fields}))
    stored_content = content if content is not None and content.body is not None else None
    return LedgerEntry(kind=kind.value, chat_id=chat_id, event=event, content=stored_content)


def _labelled(fields: dict[str, Any]) -> dict[str, Any]:
    """Make each text of an event, however deep it stands, a label."""
    pending: list[dict[str, Any] | list[Any]] = [fields]
    while pending:
        holder: Any = pending.pop()
        for place, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if isinstance(value, str):
                if len(value) > MAX_LABEL_CHARS or not value.isascii() or "\x00" in value:
                    holder[place] = label(value)
            elif isinstance(value, dict | list):
                pending.append(value)
    return fields


def _opening_fields(chat: Intent | Rejection) -> dict[str, Any]:
    caller, request = chat.caller, chat.asked
    return {
        "app": caller.application,
        "key": caller.api_key,
        "actor": caller.actor,
        "user": caller.end_user,
        "conversation": caller.conversation,
        "address": caller.address,
        "dialect": request.dialect,
        "asked": {
            "provider": request.provider,
            "model": request.model_name,
            "stream": request.is_stream,
            "params": _texts(request.params),
            "messages": request.message_count,
            "tools": request.tool_count,
        },
        "config_version": chat.config_version,
        **_commitment_fields(chat.content),
    }


def _reader_fields(event: Read | Search) -> dict[str, Any]:
    return {
        "actor": event.actor,
        "app": event.application,
        "source": event.source,
        "address": event.address,
    }


def _commitment_fields(content: Content | None) -> dict[str, Any]:
    if content is None:
        return {"content_commit": None, "content_bytes": 0}
    fields = {"content_commit": content.commitment, "content_bytes": content.size_bytes}
    return fields | {"kept_commit": content.kept_commitment} if content.kept_commitment else fields


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    """Return names and values that a caller chose, as bounded text; names in ASCII, as canonical JSON requires."""
    return {
        name.encode("ascii", "backslashreplace").decode()[:MAX_PARAM_NAME_CHARS]: _value_text(value)
        for name, value in islice(values.items(), MAX_PARAMS)
    }


def _value_text(value: object) -> str:
    """Return a scalar as text; for a long text, a list or an object, which may carry content, only its type."""
    if isinstance(value, str):
        return storable_text(value) if len(value) <= MAX_VALUE_CHARS else f"({len(value)} characters)"
    if value is None or isinstance(value, bool | int | float | Decimal):
        return str(value)[:MAX_VALUE_CHARS]
    return f"({type(value).__name__})"


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "model": attempt.model_name,
        "ok": attempt.ok,
        "error_type": attempt.error_type or None,
        "upstream_status": attempt.upstream_status,
        "latency_ms": attempt.latency_ms,
        "upstream_request_id": attempt.upstream_request_id,
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
    """Clamp a provider's count to the integers of canonical JSON."""
    return None if number is None else max(-MAX_INTEGER, min(number, MAX_INTEGER))


def _error(type_: str, code: str | None) -> dict[str, str | None]:
    return {"type": type_, "code": code}
