"""Answers of Anthropic's Messages API, refusals among them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from providers.errors import (
    ConfigurationError,
    ContentBlockedError,
    ContextTooLongError,
    MalformedReplyError,
    ProviderError,
    QuotaExhaustedError,
    RequestRejectedError,
    UpstreamError,
)
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
from providers.wire.anthropic_messages_blocks import (
    FORMAT,
    decode_block,
    encode_file,
    encode_own_thought,
    find_object,
    image_source,
    rest_of,
)
from providers.wire.codec import ReplyHead
from providers.wire.error_mapping import error_of_status, message_of
from providers.wire.foreign import own_fields
from providers.wire.json_access import count_or_none, label_or_none, object_or_empty, objects_at, text_or_none

FINISH_REASONS: Mapping[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
}
"""Every other reason is a plain end of the answer; the last two are of compatible servers."""

FAILED_STOP_REASONS = frozenset({"error", "insufficient_system_resource"})
STOP_REASONS: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

STATUS_OF_ERROR_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
SPEND_ERROR_CODES = ("enforced_spend_limit_reached", "contract_spend_limit_reached")
SPEND_MESSAGE = re.compile(r"credit balance is too low|specified API usage limits")
CONTEXT_MESSAGE = re.compile(r"prompt is too long|exceed context limit")
BLOCKED_MESSAGE = re.compile(r"blocked by content filtering policy")

UNSHOWN_FILE = "[The answer holds a file of a kind that this API cannot carry.]"
USAGE_KEYS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
REPLY_KEYS = frozenset(
    {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "usage"}
)
STOP_KEYS = ("stop_sequence", "stop_details")


def decode_reply(body: JSONObject) -> ChatResponse:
    """Translate a whole message.

    Errors: MalformedReplyError, UpstreamError for an answer broken off, or the error in the body.
    """
    if body.get("type") == "error" or body.get("error"):
        raise decode_error(200, body)
    if not isinstance(body.get("content"), list):
        raise MalformedReplyError("The provider's answer lacks `content`.")
    parts = tuple([part for block in objects_at(body, "content") if _says(part := decode_block(block))])
    native = text_or_none(body.get("stop_reason"))
    return ChatResponse(
        choices=(
            Choice(
                parts=parts,
                finish_reason=finish_reason(native, has_calls=_has_calls(parts)),
                native_finish_reason=native,
                extra=stop_details(body),
            ),
        ),
        model_name=text_or_none(body.get("model")) or "",
        usage=find_usage(object_or_empty(body.get("usage"))),
        upstream_id=label_or_none(body.get("id")),
        extra=rest_of(body, *REPLY_KEYS),
    )


def _says(part: Part) -> bool:
    """Tell empty texts, and thoughts of which there is not even a signature, from what answers hold."""
    if isinstance(part, ReasoningPart):
        return bool(part.text) or part.signature is not None
    return not isinstance(part, TextPart) or bool(part.text)


def _has_calls(parts: Iterable[Part]) -> bool:
    return any(isinstance(part, ToolCallPart) for part in parts)


def finish_reason(native: str | None, *, has_calls: bool) -> FinishReason:
    if native in FAILED_STOP_REASONS:
        raise UpstreamError(f"The provider broke off the answer: {native}.", code="provider_error")
    if has_calls and native in (None, "end_turn"):
        return "tool_calls"
    return FINISH_REASONS.get(native or "", "stop")


def stop_details(wire: JSONObject) -> Passthrough | None:
    fields = {key: wire[key] for key in STOP_KEYS if wire.get(key) is not None}
    return Passthrough(FORMAT, fields) if fields else None


def find_usage(usage: JSONObject) -> Usage | None:
    """Return the usage where it is told: `input_tokens` leave out what was read from or written to the cache.

    All counts are 0 where a server had none when it began to stream.
    """
    counts = [count_or_none(usage.get(key)) for key in USAGE_KEYS]
    uncached, completion, cached, written = counts
    if uncached is None or completion is None or not any(counts):
        return None
    return Usage(
        prompt_tokens=uncached + (cached or 0) + (written or 0),
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=count_or_none(object_or_empty(usage.get("output_tokens_details")).get("thinking_tokens")),
    )


def encode_reply(response: ChatResponse, head: ReplyHead) -> JSONObject:
    """Render the first choice: the format has no more."""
    choice = response.choices[0] if response.choices else Choice()
    content = [block for part in choice.parts if (block := encode_answer_part(part)) is not None]
    return {
        **own_fields(response.extra, FORMAT),
        "id": head.id,
        "type": "message",
        "role": "assistant",
        "model": response.model_name or head.model_name,
        "content": content,
        **encode_stop(choice),
        "usage": encode_usage(response.usage),
    }


def encode_stop(choice: Choice) -> JSONObject:
    reason = choice.finish_reason
    if reason == "stop" and any(isinstance(part, RefusalPart) for part in choice.parts):
        reason = "content_filter"
    return {
        "stop_reason": None if reason is None else _stop_reason(reason, choice.native_finish_reason),
        "stop_sequence": None,
        **own_fields(choice.extra, FORMAT),
    }


def _stop_reason(reason: FinishReason, native: str | None) -> str:
    """Return the provider's own word where it is one of this format, which a client knows more of."""
    return native if native is not None and FINISH_REASONS.get(native) == reason else STOP_REASONS[reason]


def encode_usage(usage: Usage | None) -> JSONObject:
    """Return the counts; there must be some."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    of_cache = (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)
    wire: JSONObject = {
        "input_tokens": max(usage.prompt_tokens - of_cache, 0),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens is not None:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return wire


def encode_answer_part(part: Part) -> JSONObject | None:
    """Return the block of a part, None for what clients of this format cannot be shown."""
    match part:
        case TextPart() | RefusalPart():
            return {"type": "text", "text": part.text, **own_fields(part.extra, FORMAT)} if part.text else None
        case ReasoningPart():
            return _encode_thought(part)
        case ToolCallPart():
            given = find_object(part.arguments or "{}")
            return call_block(part, {"INVALID_JSON": part.arguments} if given is None else given)
        case ImagePart():
            return {"type": "image", "source": image_source(part.url), **own_fields(part.extra, FORMAT)}
        case FilePart() | AudioPart():
            return _encode_file_if_known(part)
        case OpaquePart() if part.format is FORMAT:
            return dict(part.wire)
        case _:
            return None


def _encode_file_if_known(part: FilePart | AudioPart) -> JSONObject:
    """Return the block of a document, or words in the place of what the format has no block for."""
    with suppress(RequestRejectedError):
        if isinstance(part, FilePart):
            return encode_file(part)
    return {"type": "text", "text": UNSHOWN_FILE}


def _encode_thought(part: ReasoningPart) -> JSONObject | None:
    """Return a thought; an empty signature tells, when it comes back, that it was another provider's."""
    own = encode_own_thought(part)
    if own is None and part.text:
        return {"type": "thinking", "thinking": part.text, "signature": ""}
    return own


def call_block(part: ToolCallPart, given: JSONObject) -> JSONObject:
    return {"type": "tool_use", "id": part.id, "name": part.name, "input": given, **own_fields(part.extra, FORMAT)}


def decode_error(status: int, body: Any) -> ProviderError:
    """Classify a refusal, or an error that came after the status 200."""
    error = object_or_empty(object_or_empty(body).get("error"))
    if status < 400:
        status = STATUS_OF_ERROR_TYPE.get(str(error.get("type")), 500)
    message = message_of(error, status)
    error_code = text_or_none(object_or_empty(error.get("details")).get("error_code"))
    error_class = _error_class(status, message, error_code=error_code, has_error=bool(error))
    return error_class(message, upstream_status=status, code=error_code or text_or_none(error.get("type")))


def _error_class(status: int, message: str, *, error_code: str | None, has_error: bool) -> type[ProviderError]:
    if error_code in SPEND_ERROR_CODES or (status == 400 and SPEND_MESSAGE.search(message)):
        return QuotaExhaustedError
    if status in (400, 413) and CONTEXT_MESSAGE.search(message):
        return ContextTooLongError
    if status == 400 and BLOCKED_MESSAGE.search(message):
        return ContentBlockedError
    if status == 404 and (not has_error or message == "Not Found"):
        return ConfigurationError
    return error_of_status(status)
