"""Answers of OpenAI's chat completions, as OpenAI and a dozen of other servers send them, and as the hub does.

Source: https://platform.openai.com/docs/api-reference/chat/object, read 2026-11.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from providers.errors import MalformedReplyError, UpstreamError
from providers.types import (
    AudioPart,
    ChatResponse,
    Choice,
    FilePart,
    FinishReason,
    ImagePart,
    JSONObject,
    OpaquePart,
    Part,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    Usage,
)
from providers.wire.codec import ReplyHead
from providers.wire.foreign import own_fields
from providers.wire.frames import without_halves
from providers.wire.json_access import (
    count_or_none,
    label_or_none,
    object_at,
    object_or_empty,
    objects_at,
    objects_or_empty,
    text_at,
    text_or_none,
)
from providers.wire.openai_chat_messages import (
    FORMAT,
    decode_images,
    decode_part,
    decode_reasoning,
    encode_call,
    encode_part,
    encode_thinking_block,
    extra_content_of,
    find_call_signature,
    passthrough,
    rest_of,
)
from providers.wire.openai_errors import decode_error

FINISH_REASONS: Mapping[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "prohibited_content": "content_filter",
    "recitation": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
}
"""Every other reason is a plain end of the answer, or a fault."""

FAILED_FINISH = re.compile(
    r"error|\w+_error|abort(ed)?|cancel(l)?ed|insufficient_system_resource|timeout", re.IGNORECASE
)

COUNT_NAMES: Mapping[str, str] = {
    "prompt_tokens": "prompt",
    "input_tokens": "prompt",
    "completion_tokens": "completion",
    "output_tokens": "completion",
    "total_tokens": "total",
    "cached_tokens": "cached",
    "prompt_cache_hit_tokens": "cached",
    "cache_read_input_tokens": "cached",
    "cache_write_tokens": "cache_write",
    "cache_creation_tokens": "cache_write",
    "cache_creation_input_tokens": "cache_write",
    "reasoning_tokens": "reasoning",
}
"""What each name of a count means, in `usage` and in the objects inside it, with all that servers call it."""

SILENT_KEYS = frozenset({"choices", "created", "object", "obfuscation"})
"""What a body or a frame says that is no part of the answer; padding ends with the connection that it pads."""

CHOICE_KEYS = frozenset({"index", "message", "delta", "finish_reason", "logprobs", "usage"})
MESSAGE_KEYS = frozenset(
    {
        "role", "content", "content_parts", "reasoning", "reasoning_content", "refusal", "images", "tool_calls",
        "extra_content",
    }
)  # fmt: skip
_CALL_KEYS = frozenset({"id", "type", "index", "function", "extra_content"})
_USAGE_PARTS = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
)


def decode_reply(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError; UpstreamError for an answer broken off; the error that the body reports.
    """
    check_no_error(body)
    choices = objects_at(body, "choices")
    if not choices:
        raise MalformedReplyError("The provider's reply holds no choices.")
    upstream_id = label_or_none(body.get("id"))
    return ChatResponse(
        choices=tuple([_decode_choice(choice, n, upstream_id) for n, choice in enumerate(choices)]),
        model_name=label_or_none(body.get("model")) or "",
        usage=usage_of(counts_in(body)),
        upstream_id=upstream_id,
        extra=passthrough(said_beyond(body, {*SILENT_KEYS, "id", "model", "usage"})),
    )


def check_no_error(body: JSONObject) -> None:
    """Errors: the error that a body or a frame sent with 200 reports, in an envelope or flat."""
    if body.get("error") or body.get("object") == "error":
        raise decode_error(200, body)


def said_beyond(wire: JSONObject, known: Iterable[str]) -> JSONObject:
    return {key: value for key, value in wire.items() if key not in known and value is not None}


def _decode_choice(choice: JSONObject, position: int, upstream_id: str | None) -> Choice:
    if "message" not in choice:
        raise MalformedReplyError("The provider's choice lacks `message`.")
    message = object_at(choice, "message")
    calls = [
        decode_answer_call(call, synthetic_call_id(upstream_id, number))
        for number, call in enumerate(objects_at(message, "tool_calls"))
    ]
    native = label_or_none(choice.get("finish_reason"))
    index = count_or_none(choice.get("index"))
    return Choice(
        index=position if index is None else index,
        parts=(*_joined([*decode_reasoning(message, thoughts_of(message)), *decode_pieces(message)]), *calls),
        finish_reason=finish_reason_of(native) if native else "tool_calls" if calls else "stop",
        native_finish_reason=native,
        extra=choice_extra(choice, message),
    )


def thoughts_of(message: JSONObject) -> str | None:
    """Return the text of the thoughts, for which servers have two names."""
    return text_or_none(message.get("reasoning_content")) or text_or_none(message.get("reasoning"))


def decode_pieces(message: JSONObject) -> Iterator[Part]:
    """Yield what a message or a delta says beside thoughts and calls, in the order of its content, then of its fields.

    Errors: MalformedReplyError for a content that is neither text nor parts.
    """
    content = message.get("content")
    if isinstance(content, list):
        for item in content:
            yield from _decode_content_item(item)
    elif content:
        yield TextPart(_as_text(content))
    if refusal := text_or_none(message.get("refusal")):
        yield RefusalPart(refusal)
    yield from decode_images(message.get("images"))
    for item in objects_or_empty(message.get("content_parts")):
        yield from _decode_content_item(rest_of(item, ("index",)))


def _as_text(content: Any) -> str:
    if not isinstance(content, str):
        raise MalformedReplyError("The provider's `content` is not text.")
    return content


def _decode_content_item(item: Any) -> Iterator[Part]:
    """Yield a part of a list of parts, which some servers send in place of a text."""
    if not isinstance(item, dict):
        yield TextPart(_as_text(item))
        return
    kind = item.get("type")
    if kind in ("text", "output_text"):
        if text := text_or_none(item.get("text")):
            yield TextPart(text, extra=passthrough(said_beyond(item, ("type", "text", "annotations"))))
    elif kind in ("thinking", "reasoning"):
        if thoughts := _thoughts_in(item):
            yield ReasoningPart(thoughts)
    elif kind == "image_url" and (images := list(decode_images([item]))):
        yield from images
    elif kind in ("file", "input_audio", "refusal"):
        yield decode_part(item)
    else:
        yield OpaquePart(FORMAT, item)


def _thoughts_in(item: JSONObject) -> str:
    """Return the text of a part of thoughts: Mistral's `thinking`, or a `summary`, each a text or a list of them."""
    thoughts = item.get("thinking") or item.get("summary") or item.get("text")
    if isinstance(thoughts, str):
        return thoughts
    return "".join([text_or_none(thought.get("text")) or "" for thought in objects_or_empty(thoughts)])


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield parts, neighbouring texts of one kind as one."""
    open_part: Part | None = None
    for part in parts:
        if open_part is not None and is_plain(part) and is_plain(open_part) and type(part) is type(open_part):
            assert isinstance(part, TextPart | ReasoningPart | RefusalPart)
            assert isinstance(open_part, TextPart | ReasoningPart | RefusalPart)
            open_part = replace(open_part, text=open_part.text + part.text)
            continue
        if open_part is not None:
            yield open_part
        open_part = part
    if open_part is not None:
        yield open_part


def is_plain(part: Part) -> bool:
    """Whether a part is text and nothing else, so that more of its kind continues it."""
    if isinstance(part, RefusalPart):
        return part.extra is None
    return isinstance(part, TextPart | ReasoningPart) and part.extra is None and part.signature is None


def decode_answer_call(call: JSONObject, synthetic_id: str) -> ToolCallPart | OpaquePart:
    """Translate a call, whose id some servers leave out; one of another kind than a function's stays as it came."""
    if call.get("type") not in (None, "function") or "function" not in call:
        return OpaquePart(FORMAT, call, "tool_calls")
    function = object_at(call, "function")
    return ToolCallPart(
        label_or_none(call.get("id")) or synthetic_id,
        text_at(function, "name"),
        arguments_text(function) or "{}",
        find_call_signature(call),
        call_extra(call),
    )


def call_extra(call: JSONObject) -> Passthrough | None:
    return passthrough(said_beyond(call, _CALL_KEYS), extra_content_of(call, "google", "thought_signature"))


def synthetic_call_id(upstream_id: str | None, number: int) -> str:
    """Return an id for a call that has none: short, as OpenAI takes 40 characters, and another in each answer."""
    return f"call_{number}" if upstream_id is None else f"call_{zlib.crc32(upstream_id.encode()):08x}_{number}"


def arguments_text(function: JSONObject) -> str:
    """Return the arguments as JSON text; some servers send the object itself."""
    arguments = function.get("arguments")
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return orjson.dumps(without_halves(arguments)).decode()


def finish_reason_of(native: str) -> FinishReason:
    """Errors: UpstreamError for a reason that means a fault of the provider."""
    if FAILED_FINISH.fullmatch(native):
        raise UpstreamError(f"The provider broke off the answer: {native}.", code="provider_error")
    return FINISH_REASONS.get(native.lower(), "stop")


def choice_extra(choice: JSONObject, message: JSONObject) -> Passthrough | None:
    """Return what a choice says beyond the value types, and the message inside it."""
    known = MESSAGE_KEYS if isinstance(message.get("reasoning"), str | None) else MESSAGE_KEYS - {"reasoning"}
    logprobs = object_or_empty(choice.get("logprobs"))
    return passthrough(
        said_beyond(choice, CHOICE_KEYS),
        said_beyond(message, known),
        extra_content_of(message, "anthropic", "thinking_blocks"),
        {"logprobs": logprobs} if logprobs else {},
    )


def counts_in(body: JSONObject) -> dict[str, int]:
    """Return the counts of tokens that a body or a frame tells, wherever servers tell them."""
    choices = body.get("choices")
    holders = [body, object_or_empty(body.get("x_groq")), *(objects_or_empty(choices) if choices else ())]
    counts: dict[str, int] = {}
    for holder in holders:
        if isinstance(usage := holder.get("usage"), dict):
            for place in (usage, *[inner for key in _USAGE_PARTS if isinstance(inner := usage.get(key), dict)]):
                _add_counts(counts, place)
    return counts


def _add_counts(counts: dict[str, int], place: JSONObject) -> None:
    for key, value in place.items():
        if (name := COUNT_NAMES.get(key)) and (count := count_or_none(value)) is not None:
            counts[name] = max(count, counts.get(name, 0))


def usage_of(counts: Mapping[str, int]) -> Usage | None:
    """Return the usage; None unless both sides of it are told, as no prompt is empty.

    The total is believed where it is more than the sum: some servers count thoughts apart from the completion.
    """
    prompt_tokens, total_tokens = counts.get("prompt"), counts.get("total", 0)
    if not prompt_tokens or ("completion" not in counts and total_tokens < prompt_tokens):
        return None
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=max(counts.get("completion", 0), total_tokens - prompt_tokens),
        cached_tokens=counts.get("cached"),
        cache_write_tokens=counts.get("cache_write"),
        reasoning_tokens=counts.get("reasoning"),
    )


def encode_reply(response: ChatResponse, head: ReplyHead) -> JSONObject:
    return {
        **own_fields(response.extra, FORMAT),
        "id": head.id,
        "object": "chat.completion",
        "created": head.created_s,
        "model": response.model_name or head.model_name,
        "choices": [_choice_object(choice) for choice in response.choices],
        "usage": usage_object(response.usage) if response.usage else None,
    }


def _choice_object(choice: Choice) -> JSONObject:
    extra = dict(own_fields(choice.extra, FORMAT))
    logprobs = extra.pop("logprobs", None)
    return {
        "index": choice.index,
        "message": {**_message_object(choice.parts, extra), **extra, **_answer_extra_content(choice.parts, extra)},
        "finish_reason": choice.finish_reason,
        "logprobs": logprobs,
    }


def _message_object(parts: tuple[Part, ...], extra: JSONObject) -> JSONObject:
    """Return the message; its content is null where it says something else than text."""
    text = "".join([part.text for part in parts if isinstance(part, TextPart)])
    refusal = "".join([part.text for part in parts if isinstance(part, RefusalPart)])
    thoughts = "".join([part.text for part in parts if isinstance(part, ReasoningPart)])
    lists = {
        "images": [encode_part(part) for part in parts if isinstance(part, ImagePart)],
        "content_parts": [content_part_object(part) for part in parts if is_content_part(part)],
        "tool_calls": [encode_call(part) for part in parts if is_answer_call(part)],
    }
    says_else = refusal or "audio" in extra or "function_call" in extra or any(lists.values())
    return {
        "role": "assistant",
        "content": text or (None if says_else else ""),
        "refusal": refusal or None,
        **({"reasoning_content": thoughts} if thoughts else {}),
        **{name: items for name, items in lists.items() if items},
    }


def is_content_part(part: Part) -> bool:
    """Whether a part stands beside the text of an answer, as clients take content for text alone."""
    return isinstance(part, FilePart | AudioPart) or (
        isinstance(part, OpaquePart) and part.format is FORMAT and part.slot == "content"
    )


def content_part_object(part: Part) -> JSONObject:
    if isinstance(part, FilePart) and not part.file_id and not part.url.startswith("data:"):
        return {"type": "file", "file": {"file_url": part.url}}
    return encode_part(part)


def is_answer_call(part: Part) -> bool:
    return isinstance(part, ToolCallPart) or (
        isinstance(part, OpaquePart) and part.format is FORMAT and part.slot == "tool_calls"
    )


def _answer_extra_content(parts: Iterable[Part], extra: JSONObject) -> JSONObject:
    """Return the field with the thoughts that Anthropic signed, which its models demand back."""
    blocks = [block for part in parts if isinstance(part, ReasoningPart) and (block := encode_thinking_block(part))]
    if not blocks:
        return {}
    beside = object_or_empty(extra.get("extra_content"))
    return {
        "extra_content": {
            **beside,
            "anthropic": {**object_or_empty(beside.get("anthropic")), "thinking_blocks": blocks},
        }
    }


def usage_object(usage: Usage) -> JSONObject:
    of_prompt = {"cached_tokens": usage.cached_tokens or 0}
    if usage.cache_write_tokens is not None:
        of_prompt["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": of_prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }
