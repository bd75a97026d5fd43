"""Whole answers of the Responses API, which repeat what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from providers.errors import MalformedReplyError, UpstreamError
from providers.types import (
    ChatRequest,
    ChatResponse,
    Choice,
    FinishReason,
    JSONObject,
    OpaqueTool,
    OutputFormat,
    Part,
    Passthrough,
    TextPart,
    Tool,
    ToolCallPart,
    Usage,
    WireFormat,
)
from providers.wire.codec import ReplyHead
from providers.wire.foreign import NOTHING, own_fields
from providers.wire.json_access import (
    count_or_none,
    object_or_empty,
    objects_at,
    text_or_none,
)
from providers.wire.openai_errors import decode_error
from providers.wire.openai_responses_items import (
    FORMAT,
    TYPED,
    answer_content,
    decode_output_item,
    decode_output_message,
    encode_text_format,
    encode_tool,
    encode_tool_choice,
    find_answer_item,
    find_effort,
    is_content,
    item_id,
    message_object,
    passed_on,
    phase_of,
    rest_of,
    split_instructions,
)

ECHOED = frozenset(
    {
        "background",
        "max_tool_calls",
        "metadata",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "truncation",
    }
)
"""Parameters that an answer repeats as they came; clients read them."""
INCOMPLETE_REASONS: Mapping[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
FINISH_REASONS: Mapping[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
REPLY_KEYS = frozenset(
    {
        *ECHOED - {"service_tier"}, *TYPED, "completed_at", "conversation", "created_at", "error", "frequency_penalty",
        "id", "incomplete_details", "object", "output", "output_text", "presence_penalty", "prompt_cache_options",
        "reasoning", "status", "text", "tool_choice", "usage",
    }
)  # fmt: skip


def decode_reply(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError, UpstreamError for one that was given up, or the error in the body.
    """
    check_answered(body)
    parts = [part for item in objects_at(body, "output") for part in decode_output(item)]
    finish_reason, native = finish_reason_of(body, parts)
    logprobs = [token for item in objects_at(body, "output") for token in _logprobs_of(item)]
    choice = Choice(
        parts=tuple([without_logprobs(part) for part in parts]),
        finish_reason=finish_reason,
        native_finish_reason=native,
        extra=logprobs_extra(logprobs) if logprobs else None,
    )
    return ChatResponse(
        choices=(choice,),
        model_name=text_or_none(body.get("model")) or "",
        usage=find_usage(body),
        upstream_id=text_or_none(body.get("id")),
        extra=rest_of(body, REPLY_KEYS),
    )


def check_answered(body: JSONObject) -> None:
    """Raise what a body says instead of an answer.

    Errors: MalformedReplyError, UpstreamError, or the error in the body.
    """
    if body.get("error") or body.get("object") == "error":
        raise decode_error(200, body)
    status = body.get("status")
    if status in ("failed", "cancelled"):
        raise UpstreamError("The provider gave up on the answer.", code="provider_error")
    if status in ("queued", "in_progress") or "output" not in body:
        raise MalformedReplyError("The provider's answer is not whole.")


def decode_output(item: JSONObject) -> list[Part]:
    if item.get("type") != "message":
        return [decode_output_item(item, "output")]
    return decode_output_message({**item, "content": objects_at(item, "content")})


def finish_reason_of(body: JSONObject, parts: Iterable[Part]) -> tuple[FinishReason, str]:
    if body.get("status") == "incomplete":
        native = text_or_none(object_or_empty(body.get("incomplete_details")).get("reason")) or "incomplete"
        return FINISH_REASONS.get(native, "stop"), native
    is_calling = any(isinstance(part, ToolCallPart) for part in parts)
    return "tool_calls" if is_calling else "stop", "completed"


def _logprobs_of(item: JSONObject) -> list[JSONObject]:
    contents = objects_at(item, "content") if item.get("type") == "message" else []
    return [token for part in contents for token in objects_at(part, "logprobs")]


def logprobs_extra(tokens: list[JSONObject]) -> Passthrough:
    """Return log probabilities in the shape of chat completions, the one that every encoder knows."""
    return Passthrough(WireFormat.OPENAI_CHAT, {"logprobs": {"content": tokens, "refusal": None}})


def without_logprobs(part: Part) -> Part:
    if not isinstance(part, TextPart) or part.extra is None or "logprobs" not in part.extra.fields:
        return part
    return replace(part, extra=rest_of(part.extra.fields, {"logprobs"}))


def find_usage(body: JSONObject) -> Usage | None:
    """Return the usage where it is told in whole numbers, in these names or in those of chat completions."""
    usage = object_or_empty(body.get("usage"))
    of_prompt = object_or_empty(usage.get("input_tokens_details") or usage.get("prompt_tokens_details"))
    of_answer = object_or_empty(usage.get("output_tokens_details") or usage.get("completion_tokens_details"))
    prompt_tokens = count_or_none(usage.get("input_tokens", usage.get("prompt_tokens")))
    completion_tokens = count_or_none(usage.get("output_tokens", usage.get("completion_tokens")))
    if prompt_tokens is None or completion_tokens is None:
        return None
    total = count_or_none(usage.get("total_tokens")) or 0
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=max(completion_tokens, total - prompt_tokens),
        cached_tokens=count_or_none(of_prompt.get("cached_tokens")),
        cache_write_tokens=count_or_none(of_prompt.get("cache_write_tokens")),
        reasoning_tokens=count_or_none(of_answer.get("reasoning_tokens")),
    )


def encode_reply(response: ChatResponse, head: ReplyHead) -> JSONObject:
    """Render the first choice: this format has no others."""
    choice = response.choices[0] if response.choices else Choice()
    reason = INCOMPLETE_REASONS.get(choice.finish_reason) if choice.finish_reason else "max_output_tokens"
    return response_object(
        head,
        model_name=response.model_name,
        extra=own_fields(response.extra, FORMAT),
        status="incomplete" if reason else "completed",
        incomplete_details={"reason": reason} if reason else None,
        output=_encode_output(choice, head, is_whole=not reason),
        usage=_encode_usage(response.usage) if response.usage else None,
    )


def response_object(
    head: ReplyHead, *, model_name: str | None, status: str, extra: Mapping[str, Any] = NOTHING, **fields: Any
) -> JSONObject:
    return {
        **_echo(head.request),
        **extra,
        "id": head.id,
        "object": "response",
        "created_at": head.created_s,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": model_name or head.model_name,
        "output": [],
        "usage": None,
        **fields,
    }


def _echo(request: ChatRequest) -> JSONObject:
    """Return the fields of the request that an answer repeats, with what holds where they were not given."""
    own = {**own_fields(request.extra, FORMAT), **passed_on(request.extra, stream=True)}
    instructions, _ = split_instructions(request.messages)
    text: JSONObject = {"format": encode_text_format(request.output_format or OutputFormat("text"))}
    if "verbosity" in own:
        text["verbosity"] = own["verbosity"]
    choice: Any = own.get("tool_choice", "auto")
    return {
        "background": False,
        "instructions": instructions,
        "max_output_tokens": request.sampling.max_tokens,
        "metadata": {},
        "parallel_tool_calls": True if request.parallel_tool_calls is None else request.parallel_tool_calls,
        "previous_response_id": None,
        "reasoning": {"summary": None, **own.get("reasoning", NOTHING), "effort": find_effort(request.reasoning)},
        "store": False,
        "temperature": request.sampling.temperature,
        "text": {**object_or_empty(own.get("text")), **text},
        "tool_choice": encode_tool_choice(request.tool_choice) if request.tool_choice else choice,
        "tools": [_echoed_tool(tool) for tool in request.tools],
        "top_logprobs": request.sampling.top_logprobs or 0,
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "user": request.user,
        **{key: value for key, value in own.items() if key in ECHOED and value is not None},
    }


def _echoed_tool(tool: Tool | OpaqueTool) -> JSONObject:
    return dict(tool.wire) if isinstance(tool, OpaqueTool) else encode_tool(tool)


def _encode_output(choice: Choice, head: ReplyHead, *, is_whole: bool) -> list[JSONObject]:
    """Render the parts of an answer as items: neighbouring texts are one message."""
    items: list[JSONObject] = []
    tokens = _logprobs_in(choice.extra)
    for part in choice.parts:
        if is_content(part):
            content = answer_content(part)
            if content["type"] == "output_text":
                content["logprobs"], tokens = tokens, []
            phase = phase_of(part)
            if not items or items[-1]["type"] != "message" or items[-1].get("phase") != phase:
                items.append(message_object(item_id("msg", head, len(items)), phase))
            items[-1]["content"].append(content)
        elif (item := find_answer_item(part, head, len(items))) is not None:
            items.append(item)
    if items and not is_whole and items[-1]["type"] in ("message", "function_call"):
        items[-1]["status"] = "incomplete"
    return items


def _logprobs_in(extra: Passthrough | None) -> list[JSONObject]:
    tokens = object_or_empty(extra.fields.get("logprobs")).get("content") if extra else None
    return tokens if isinstance(tokens, list) else []


def _encode_usage(usage: Usage) -> JSONObject:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }
