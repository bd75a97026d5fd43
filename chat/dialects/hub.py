"""The hub's own chat API: a message or a conversation in, one flat object out."""

from __future__ import annotations

from chat.dialects.base import Dialect, Facts, ParsedRequest
from chat.dialects.openai_chat import tool_call_object
from chat.dialects.parsing import boolean, read_chat_request, text
from providers.error_table import ServedError
from providers.types import Attempt, ChatChunk, ChatMessage, ChatResponse, JSONObject, Usage
from providers.wire.encoding import sse
from providers.wire.validation import BadRequestError

OWN_FIELDS = ("message", "provider")


class HubDialect(Dialect):
    name = "hub"

    def read(self, body: JSONObject) -> ParsedRequest:
        message = text(body, "message")
        if message is not None and body.get("messages") is not None:
            raise BadRequestError("Send either `message` or `messages`, not both.", param="message")
        if message is None and body.get("messages") is None:
            raise BadRequestError("`message` or `messages` is missing.", param="message", code="missing_parameter")
        if message is not None and not message.strip():
            raise BadRequestError("`message` is empty.", param="message")
        turns = (ChatMessage(role="user", content=message),) if message is not None else None
        return ParsedRequest(
            request=read_chat_request(body, messages=turns, more=OWN_FIELDS),
            provider=text(body, "provider"),
            is_stream=boolean(body, "stream") or False,
        )

    def answer(self, response: ChatResponse, facts: Facts) -> JSONObject:
        found: JSONObject = {
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
        if calls := [call for choice in response.choices[:1] for call in choice.tool_calls]:
            found["tool_calls"] = [tool_call_object(call) for call in calls]
        return found

    def error(self, problem: ServedError) -> JSONObject:
        return problem.body

    def frames(self, chunk: ChatChunk, facts: Facts) -> bytes:
        told = [delta.content for delta in chunk.choices if delta.content and delta.index == 0]
        return b"".join([sse({"id": str(facts.chat_id), "content": content}, event="chunk") for content in told])

    def last_frames(self, response: ChatResponse, facts: Facts) -> bytes:
        return sse(self.answer(response, facts), event="done")

    def error_frame(self, problem: ServedError) -> bytes:
        return sse(problem.body, event="error")


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
