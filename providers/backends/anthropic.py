"""Anthropic's Messages API.

Source: https://platform.claude.com/docs/en/api/messages, read 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from pydantic import Field, PositiveInt

from providers.backends.base import BaseProvider, ProviderSettings, StreamReader, WireCall
from providers.backends.conversation import (
    Turn,
    check_translatable,
    conversation,
    dropped_params,
    inline_image,
    max_tokens_of,
)
from providers.errors import (
    ConfigurationError,
    ContentBlockedError,
    ContextTooLongError,
    ProviderError,
    QuotaExhaustedError,
    RequestRejectedError,
)
from providers.types import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceDelta,
    FinishReason,
    ImagePart,
    JSONObject,
    ModelInfo,
    ProviderType,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providers.wire.error_mapping import error_of_status, message_of
from providers.wire.json_access import (
    count_at,
    find_count,
    find_text,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)

UNSAMPLED_VERSION: Final = "2026-10-21"
"""From this version on, sampling parameters are refused, even at their default values.

https://platform.claude.com/docs/en/api/migration-2026-10-21, read 2026-11.
"""
SAMPLED_VERSION: Final = "2023-06-01"

SAMPLING_PARAMS = ("temperature", "top_p", "top_k")
UNKNOWN_PARAMS = ("seed", "presence_penalty", "frequency_penalty", "parallel_tool_calls", "reasoning_effort")

FINISH_REASONS: Mapping[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Every other reason is a plain end of the answer."""

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
UNSAMPLED_MESSAGE = re.compile(r"`?(temperature|top_p|top_k)`? is deprecated")

USAGE_KEYS = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens_details",
)

MODELS_PAGE_SIZE = "1000"


class AnthropicSettings(ProviderSettings):
    """`api_version` pins what the hub else picks by the request; `default_max_tokens` is for chats that name none."""

    api_version: str | None = Field(
        default=None,
        title="API version",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Pins the version of the API; empty: the hub picks it by the request.",
        examples=["2023-06-01"],
    )
    default_max_tokens: PositiveInt = Field(
        default=4096,
        title="Longest answer",
        description="In tokens, for chats that name no length.",
        examples=[8192],
    )


def api_version(request: ChatRequest, pinned: str | None) -> str:
    if pinned is not None:
        return pinned
    return SAMPLED_VERSION if _has_sampling(request) else UNSAMPLED_VERSION


def request_body(request: ChatRequest, *, default_max_tokens: int, stream: bool) -> JSONObject:
    """Translate a request whose sampling parameters the API version takes.

    Errors: RequestRejectedError for what cannot be translated.
    """
    chat = conversation(request, ProviderType.ANTHROPIC)
    body: JSONObject = {
        "model": request.model_name,
        "max_tokens": max_tokens_of(request) or default_max_tokens,
        "messages": [_turn_body(turn) for turn in chat.turns],
        "system": [{"type": "text", "text": text} for text in chat.system] or None,
        "temperature": None if request.temperature is None else min(max(request.temperature, 0.0), 1.0),
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": list(request.stop) or None,
        "metadata": {"user_id": request.user} if request.user else None,
        "stream": stream or None,
    }
    return {key: value for key, value in body.items() if value is not None}


def without_sampling(request: ChatRequest) -> ChatRequest:
    return replace(request, temperature=None, top_p=None, top_k=None)


def _has_sampling(request: ChatRequest) -> bool:
    return any(getattr(request, param) is not None for param in SAMPLING_PARAMS)


def _turn_body(turn: Turn) -> JSONObject:
    return {"role": turn.role, "content": [_block(part) for part in turn.parts]}


def _block(part: TextPart | ImagePart) -> JSONObject:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    inline = inline_image(part)
    if inline is None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": inline.media_type, "data": inline.data}}


def read_message(body: JSONObject) -> ChatResponse:
    """Translate a whole message.

    Errors: MalformedReplyError, or the error in the body.
    """
    if body.get("type") == "error":
        raise read_refusal(200, body)
    blocks = objects_at(body, "content")
    stop_reason = text_at(body, "stop_reason")
    choice = Choice(
        content=_joined(blocks, "text"),
        reasoning=_joined(blocks, "thinking"),
        tool_calls=tuple(_tool_call(block) for block in blocks if block.get("type") == "tool_use"),
        finish_reason=FINISH_REASONS.get(stop_reason, "stop"),
        native_finish_reason=stop_reason,
    )
    usage = object_at(body, "usage")
    return ChatResponse(
        choices=(choice,),
        model_name=find_text(body, "model") or "",
        usage=read_usage(usage) if usage else None,
        upstream_id=find_text(body, "id"),
    )


def read_usage(usage: JSONObject) -> Usage:
    """Return the canonical counts: Anthropic's `input_tokens` leave out what was read from or written to the cache."""
    cached = find_count(usage, "cache_read_input_tokens")
    written = find_count(usage, "cache_creation_input_tokens")
    return Usage(
        prompt_tokens=count_at(usage, "input_tokens") + (cached or 0) + (written or 0),
        completion_tokens=count_at(usage, "output_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=find_count(object_at(usage, "output_tokens_details"), "thinking_tokens"),
    )


def _joined(blocks: Iterable[JSONObject], kind: str) -> str | None:
    """Join the blocks of a kind, whose text lies under the kind's name."""
    return "".join(find_text(block, kind) or "" for block in blocks if block.get("type") == kind) or None


def _tool_call(block: JSONObject) -> ToolCall:
    arguments = json.dumps(object_at(block, "input"))
    return ToolCall(text_at(block, "id"), text_at(block, "name"), arguments)


class AnthropicStreamReader(StreamReader):
    """Translates the events of one message; a tool call's number counts calls, not blocks."""

    def __init__(self) -> None:
        self._usage: JSONObject = {}
        self._tool_of_block: dict[int, int] = {}
        self._tools_with_arguments: set[int] = set()

    def read(self, data: JSONObject) -> Iterable[ChatChunk]:
        match data.get("type"):
            case "message_start":
                yield self._started(object_at(data, "message"))
            case "content_block_start":
                yield from self._block_started(count_at(data, "index"), object_at(data, "content_block"))
            case "content_block_delta":
                yield from self._block_grew(count_at(data, "index"), object_at(data, "delta"))
            case "content_block_stop":
                yield from self._block_stopped(count_at(data, "index"))
            case "message_delta":
                yield self._ending(data)
            case "message_stop":
                self.finished = True
            case "error":
                raise read_refusal(200, data)

    def _started(self, message: JSONObject) -> ChatChunk:
        return ChatChunk(
            model_name=find_text(message, "model"),
            upstream_id=find_text(message, "id"),
            usage=self._usage_with(message),
        )

    def _block_started(self, block: int, content: JSONObject) -> Iterable[ChatChunk]:
        match content.get("type"):
            case "tool_use":
                tool = len(self._tool_of_block)
                self._tool_of_block[block] = tool
                yield _tool_chunk(ToolCallDelta(tool, text_at(content, "id"), text_at(content, "name")))
            case "text":
                yield from _text_chunk(find_text(content, "text"))
            case "thinking":
                yield from _reasoning_chunk(find_text(content, "thinking"))

    def _block_grew(self, block: int, delta: JSONObject) -> Iterable[ChatChunk]:
        match delta.get("type"):
            case "text_delta":
                yield from _text_chunk(find_text(delta, "text"))
            case "thinking_delta":
                yield from _reasoning_chunk(find_text(delta, "thinking"))
            case "input_json_delta" if block in self._tool_of_block:
                yield from self._arguments(self._tool_of_block[block], find_text(delta, "partial_json") or "")

    def _arguments(self, tool: int, piece: str) -> Iterable[ChatChunk]:
        if piece:
            self._tools_with_arguments.add(tool)
            yield _tool_chunk(ToolCallDelta(tool, arguments=piece))

    def _block_stopped(self, block: int) -> Iterable[ChatChunk]:
        """Complete a call without arguments: Anthropic may send none, clients parse what they got."""
        tool = self._tool_of_block.get(block)
        if tool is not None and tool not in self._tools_with_arguments:
            yield from self._arguments(tool, "{}")

    def _ending(self, data: JSONObject) -> ChatChunk:
        stop_reason = find_text(object_at(data, "delta"), "stop_reason")
        if not stop_reason:
            return ChatChunk(usage=self._usage_with(data))
        delta = ChoiceDelta(finish_reason=FINISH_REASONS.get(stop_reason, "stop"), native_finish_reason=stop_reason)
        return ChatChunk(choices=(delta,), usage=self._usage_with(data))

    def _usage_with(self, data: JSONObject) -> Usage | None:
        """Return the total so far: counts are cumulative, and those that an event leaves out stand."""
        told = object_at(data, "usage")
        self._usage.update((key, told[key]) for key in USAGE_KEYS if told.get(key) is not None)
        return read_usage(self._usage) if self._usage else None


def _text_chunk(text: str | None) -> Iterable[ChatChunk]:
    if text:
        yield ChatChunk(choices=(ChoiceDelta(content=text),))


def _reasoning_chunk(text: str | None) -> Iterable[ChatChunk]:
    if text:
        yield ChatChunk(choices=(ChoiceDelta(reasoning=text),))


def _tool_chunk(delta: ToolCallDelta) -> ChatChunk:
    return ChatChunk(choices=(ChoiceDelta(tool_calls=(delta,)),))


def read_model(item: JSONObject) -> ModelInfo:
    capabilities = object_at(item, "capabilities")
    vision = object_at(capabilities, "image_input").get("supported") is True
    reasoning = object_at(capabilities, "thinking").get("supported") is True
    return ModelInfo(
        name=text_at(item, "id"),
        capabilities=("chat", "tools", *(["vision"] * vision), *(["reasoning"] * reasoning)),
        context_window=find_count(item, "max_input_tokens"),
        max_output_tokens=find_count(item, "max_tokens"),
    )


def read_refusal(status: int, body: Any) -> ProviderError:
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


class AnthropicProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.ANTHROPIC
    api_key_hint: ClassVar[str] = "Begins with <code>sk-ant-</code>; from console.anthropic.com, API keys."
    price_list: ClassVar[str] = "anthropic"
    default_base_url: ClassVar[str] = "https://api.anthropic.com"
    settings_model: ClassVar[type[ProviderSettings]] = AnthropicSettings
    settings: AnthropicSettings

    def auth_headers(self) -> dict[str, str]:
        return {"x-api-key": self.endpoint.api_key}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        check_translatable(request, self.provider_type)
        version = api_version(request, self.settings.api_version)
        takes_sampling = version < UNSAMPLED_VERSION
        body = request_body(
            request if takes_sampling else without_sampling(request),
            default_max_tokens=self.settings.default_max_tokens,
            stream=stream,
        )
        unknown = UNKNOWN_PARAMS if takes_sampling else (*UNKNOWN_PARAMS, *SAMPLING_PARAMS)
        if body.get("temperature") != request.temperature:
            unknown = (*unknown, "temperature")
        return WireCall(
            path="/v1/messages",
            json=body,
            headers={"anthropic-version": version},
            dropped_params=dropped_params(request, unknown),
        )

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return read_message(body)

    def stream_reader(self) -> AnthropicStreamReader:
        return AnthropicStreamReader()

    def models_call(self, cursor: str | None) -> WireCall:
        query = {"limit": MODELS_PAGE_SIZE} | ({"after_id": cursor} if cursor else {})
        return self._models_call(query)

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        models = [read_model(item) for item in objects_at(body, "data")]
        return models, find_text(body, "last_id") if body.get("has_more") is True else None

    def probe_call(self) -> WireCall:
        return self._models_call({"limit": "1"})

    def read_error(self, status: int, body: Any) -> ProviderError:
        return read_refusal(status, body)

    def without_refused(self, call: WireCall, error: ProviderError) -> WireCall | None:
        """Leave out the sampling parameters for a model that takes none: the model list does not tell which do."""
        given = [param for param in SAMPLING_PARAMS if param in (call.json or {})]
        if not given or not isinstance(error, RequestRejectedError) or not UNSAMPLED_MESSAGE.search(error.message):
            return None
        body = {key: value for key, value in (call.json or {}).items() if key not in given}
        return replace(call, json=body, dropped_params=tuple(sorted({*call.dropped_params, *given})))

    def _models_call(self, query: Mapping[str, str]) -> WireCall:
        version = self.settings.api_version or UNSAMPLED_VERSION
        return WireCall(path="/v1/models", method="GET", headers={"anthropic-version": version}, query=query)
