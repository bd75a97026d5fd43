"""OpenAI's chat completions, as served: how a request is read and an answer rendered."""

from __future__ import annotations

from typing import Any

from chat.dialects.base import Dialect, Facts, ParsedRequest
from chat.dialects.parsing import boolean, mapping, read_chat_request
from providers.error_table import ServedError
from providers.types import (
    NOTHING,
    ChatChunk,
    ChatResponse,
    Choice,
    ChoiceDelta,
    JSONObject,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providers.wire.encoding import sse

DONE = b"data: [DONE]\n\n"


class OpenAIDialect(Dialect):
    name = "openai"

    def read(self, body: JSONObject) -> ParsedRequest:
        stream_options = mapping(body, "stream_options") or NOTHING
        return ParsedRequest(
            request=read_chat_request(body),
            is_stream=boolean(body, "stream") or False,
            wants_usage=bool(stream_options.get("include_usage")),
        )

    def answer(self, response: ChatResponse, facts: Facts) -> JSONObject:
        return {
            **response.extra,
            "id": completion_id(facts),
            "object": "chat.completion",
            "created": facts.created_s,
            "model": response.model_name or facts.model_name,
            "choices": [choice_object(choice) for choice in response.choices],
            "usage": usage_object(response.usage) if response.usage else None,
        }

    def error(self, problem: ServedError) -> JSONObject:
        return problem.body

    def frames(self, chunk: ChatChunk, facts: Facts) -> bytes:
        if not chunk.choices:
            return b""
        return sse(
            {
                **chunk.extra,
                "id": completion_id(facts),
                "object": "chat.completion.chunk",
                "created": facts.created_s,
                "model": chunk.model_name or facts.model_name,
                "choices": [delta_object(delta, is_first=facts.begin(delta.index)) for delta in chunk.choices],
                **({"usage": None} if facts.wants_usage else {}),
            }
        )

    def last_frames(self, response: ChatResponse, facts: Facts) -> bytes:
        if not (facts.wants_usage and response.usage):
            return DONE
        usage = {
            "id": completion_id(facts),
            "object": "chat.completion.chunk",
            "created": facts.created_s,
            "model": response.model_name or facts.model_name,
            "choices": [],
            "usage": usage_object(response.usage),
        }
        return sse(usage) + DONE

    def error_frame(self, problem: ServedError) -> bytes:
        return sse(problem.body)


def completion_id(facts: Facts) -> str:
    return f"chatcmpl-{facts.chat_hex}"


def choice_object(choice: Choice) -> JSONObject:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.content,
        "refusal": choice.refusal,
        **choice.extra,
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [tool_call_object(call) for call in choice.tool_calls]
    return {
        "index": choice.index,
        "message": message,
        "finish_reason": choice.finish_reason,
        "logprobs": choice.logprobs,
    }


def tool_call_object(call: ToolCall) -> JSONObject:
    if not call.name and call.extra:
        return dict(call.extra)
    function = {"name": call.name, "arguments": call.arguments}
    return {**call.extra, "id": call.id, "type": "function", "function": function}


def delta_object(delta: ChoiceDelta, *, is_first: bool) -> JSONObject:
    fields: dict[str, Any] = {"role": "assistant", "content": ""} if is_first else {}
    if delta.content is not None:
        fields["content"] = delta.content
    if delta.reasoning:
        fields["reasoning_content"] = delta.reasoning
    if delta.refusal:
        fields["refusal"] = delta.refusal
    if delta.tool_calls:
        fields["tool_calls"] = [tool_call_delta_object(piece) for piece in delta.tool_calls]
    found: JSONObject = {
        "index": delta.index,
        "delta": {**fields, **delta.extra},
        "finish_reason": delta.finish_reason,
    }
    if delta.logprobs is not None:
        found["logprobs"] = delta.logprobs
    return found


def tool_call_delta_object(piece: ToolCallDelta) -> JSONObject:
    found: JSONObject = {**piece.extra, "index": piece.index}
    if piece.id is not None:
        found |= {"id": piece.id, "type": piece.extra.get("type", "function")}
    if piece.name is not None:
        found["function"] = {"name": piece.name, "arguments": piece.arguments}
    elif piece.arguments or not piece.extra:  # a call of another kind than a function's has its words in `extra`
        found["function"] = {"arguments": piece.arguments}
    return found


def usage_object(usage: Usage) -> JSONObject:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }
