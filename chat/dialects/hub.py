"""The hub's own chat API: a message or a conversation in, one flat object out."""

from __future__ import annotations

from collections.abc import Iterable

from chat.dialects.base import Dialect, Facts, ParsedRequest
from providers.error_table import ServedError
from providers.types import (
    Attempt,
    ChatRequest,
    ChatResponse,
    Delta,
    JSONObject,
    PartDelta,
    PartStarted,
    TextPart,
    Usage,
)
from providers.wire import openai_chat
from providers.wire.codec import StreamEncoder
from providers.wire.openai_chat_answers import is_answer_call
from providers.wire.openai_chat_messages import encode_call
from providers.wire.rendering import event_frame
from providers.wire.validation import BadRequestError, json_type

OWN_FIELDS = ("message", "provider")


class HubDialect(Dialect):
    name = "hub"

    def read(self, body: JSONObject) -> ParsedRequest:
        message, provider = (_text(body, name) for name in OWN_FIELDS)
        if message is not None and body.get("messages") is not None:
            raise BadRequestError("Send either `message` or `messages`, not both.", param="message")
        if message is None and body.get("messages") is None:
            raise BadRequestError("`message` or `messages` is missing.", param="message", code="missing_parameter")
        if message is not None and not message.strip():
            raise BadRequestError("`message` is empty.", param="message")
        fields = {name: value for name, value in body.items() if name not in OWN_FIELDS}
        if message is not None:
            fields["messages"] = [{"role": "user", "content": message}]
        return ParsedRequest(request=openai_chat.decode_request(fields), provider=provider)

    def answer(self, response: ChatResponse, facts: Facts, request: ChatRequest) -> JSONObject:
        del request
        answer: JSONObject = {
            "id": str(facts.chat_id),
            "content": response.content,
            "model": response.model_name or facts.model_name,
            "provider": facts.provider,
            "tokens_used": response.usage.total_tokens if response.usage else None,
            "usage": usage_object(response.usage) if response.usage else None,
            "finish_reason": response.finish_reason,
            "latency_ms": facts.latency_ms,
            "cost_usd": None if facts.cost_usd is None else float(facts.cost_usd),
            "attempts": [attempt_object(attempt) for attempt in facts.attempts],
        }
        if calls := [part for choice in response.choices[:1] for part in choice.parts if is_answer_call(part)]:
            answer["tool_calls"] = [encode_call(part) for part in calls]
        return answer

    def encoder(self, facts: Facts, request: ChatRequest) -> StreamEncoder:
        return HubStreamEncoder(self, facts, request)

    def error(self, problem: ServedError) -> JSONObject:
        return problem.body

    def error_frame(self, problem: ServedError) -> bytes:
        return event_frame(problem.body, event="error")


class HubStreamEncoder(StreamEncoder):
    """Renders the text of the first choice, then the whole answer."""

    def __init__(self, dialect: HubDialect, facts: Facts, request: ChatRequest) -> None:
        self._dialect = dialect
        self._facts = facts
        self._request = request
        self._id = str(facts.chat_id)
        self._texts: set[int] = set()

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        texts = [text for delta in deltas if (text := self._text_of(delta))]
        return b"".join([event_frame({"id": self._id, "content": text}, event="chunk") for text in texts])

    def _text_of(self, delta: Delta) -> str:
        if isinstance(delta, PartDelta):
            return delta.text if delta.choice == 0 and delta.part in self._texts else ""
        if isinstance(delta, PartStarted) and delta.choice == 0 and isinstance(delta.value, TextPart):
            self._texts.add(delta.part)
            return delta.value.text
        return ""

    def end(self, response: ChatResponse) -> bytes:
        return event_frame(self._dialect.answer(response, self._facts, self._request), event="done")


def _text(body: JSONObject, name: str) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    raise BadRequestError(f"`{name}` must be a string, not {json_type(value)}.", param=name)


def usage_object(usage: Usage) -> JSONObject:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "source": usage.source,
    }


def attempt_object(attempt: Attempt) -> JSONObject:
    return {
        "provider": attempt.provider,
        "model": attempt.model_name,
        "ok": attempt.ok,
        "error_type": attempt.error_type or None,
        "error": attempt.error or None,
        "upstream_status": attempt.upstream_status,
        "latency_ms": attempt.latency_ms,
    }
