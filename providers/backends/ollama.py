"""Ollama's native API.

Source: https://docs.ollama.com/api and its server's `api/types.go`, read 2026-11.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from providers.backends.base import BaseProvider, ProviderSettings, StreamReader, WireCall
from providers.backends.conversation import check_translatable, dropped_params, inline_image, max_tokens_of, parts_of
from providers.errors import (
    ConfigurationError,
    ContextTooLongError,
    MalformedReplyError,
    ProviderError,
    UnsupportedRequestError,
    UpstreamError,
)
from providers.types import (
    ChatChunk,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceDelta,
    FinishReason,
    ImagePart,
    JSONObject,
    ModelInfo,
    ProviderType,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providers.wire.error_mapping import error_of_status, message_of
from providers.wire.json_access import (
    count_at,
    find_count,
    find_text,
    list_at,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
)

UNKNOWN_PARAMS = ("parallel_tool_calls", "reasoning_effort", "user")

CAPABILITIES = {
    "completion": "chat",
    "embedding": "embeddings",
    "tools": "tools",
    "vision": "vision",
    "thinking": "reasoning",
}

CONTEXT_MESSAGE = re.compile(r"prompt is longer than the context length")

Think = bool | Literal["low", "medium", "high", "max"]


class OllamaSettings(ProviderSettings):
    """What each chat asks of the server; None leaves it to the server.

    Shape: `keep_alive` is a duration such as `5m`; negative keeps a model loaded for ever, `0` not at all.
    Units: `num_ctx` in tokens.
    """

    num_ctx: PositiveInt | None = Field(default=None, title="Context window", description="In tokens.", examples=[8192])
    keep_alive: str | None = Field(
        default=None,
        title="Keep loaded",
        pattern=r"^(0|-?(\d+(\.\d+)?(ms|s|m|h))+)$",
        description="How long a model stays loaded after a chat; 0: not at all, negative: for ever.",
        examples=["5m"],
    )
    think: Think | None = Field(
        default=None, title="Thinking", description="Whether models that can reason do, and how much."
    )


def request_body(request: ChatRequest, settings: OllamaSettings, *, stream: bool) -> JSONObject:
    """Translate a request.

    An overlong prompt is to be refused: Ollama would else forget the oldest messages and answer the rest.
    Errors: UnsupportedRequestError for what cannot be translated.
    """
    body: JSONObject = {
        "model": request.model_name,
        "messages": [_message(message) for message in request.messages],
        "stream": stream,
        "truncate": False,
        "shift": False,
        "options": _options(request, settings) or None,
        "keep_alive": settings.keep_alive,
        "think": settings.think,
    }
    return {key: value for key, value in body.items() if value is not None}


def _options(request: ChatRequest, settings: OllamaSettings) -> JSONObject:
    options = {
        "num_ctx": settings.num_ctx,
        "num_predict": max_tokens_of(request),
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "presence_penalty": request.presence_penalty,
        "frequency_penalty": request.frequency_penalty,
    }
    return {key: value for key, value in options.items() if value is not None}


def _message(message: ChatMessage) -> JSONObject:
    wire: JSONObject = {"role": "system" if message.role == "developer" else message.role, "content": message.text}
    if images := [_image(part) for part in parts_of(message) if isinstance(part, ImagePart)]:
        wire["images"] = images
    return wire


def _image(image: ImagePart) -> str:
    inline = inline_image(image)
    if inline is None:
        raise UnsupportedRequestError(
            f"Providers of type {ProviderType.OLLAMA} take images as base64 `data:` URLs only.", param="messages"
        )
    return inline.data


def read_chat(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError, UpstreamError for an aborted answer, or the error in the body.
    """
    if body.get("error") is not None:
        raise read_refusal(200, body)
    if body.get("done") is not True:
        raise MalformedReplyError("The provider's answer is not done.")
    message = object_at(body, "message")
    calls = read_tool_calls(message, first=0)
    choice = Choice(
        content=find_text(message, "content") or None,
        reasoning=find_text(message, "thinking") or None,
        tool_calls=calls,
        finish_reason=finish_reason_of(body, has_tool_calls=bool(calls)),
        native_finish_reason=find_text(body, "done_reason"),
    )
    return ChatResponse(choices=(choice,), model_name=find_text(body, "model") or "", usage=read_usage(body))


def read_usage(body: JSONObject) -> Usage:
    """Return the counts of a finished answer; Ollama leaves out those that are 0."""
    return Usage(
        prompt_tokens=count_at(body, "prompt_eval_count"),
        completion_tokens=count_at(body, "eval_count"),
    )


def finish_reason_of(body: JSONObject, *, has_tool_calls: bool) -> FinishReason:
    """Return the canonical reason; Ollama has none for tool calls.

    Errors: UpstreamError where there is none: the answer was aborted.
    """
    native = find_text(body, "done_reason")
    if not native:
        raise UpstreamError("The provider aborted the answer.")
    if has_tool_calls:
        return "tool_calls"
    return "length" if native == "length" else "stop"


def read_tool_calls(message: JSONObject, *, first: int) -> tuple[ToolCall, ...]:
    """Translate the calls of one message; servers before ids were sent get numbers from `first` on."""
    return tuple(_tool_call(call, number) for number, call in enumerate(objects_at(message, "tool_calls"), first))


def _tool_call(call: JSONObject, number: int) -> ToolCall:
    function = object_at(call, "function")
    arguments = json.dumps(object_at(function, "arguments"))
    return ToolCall(find_text(call, "id") or f"call_{number}", text_at(function, "name"), arguments)


class OllamaStreamReader(StreamReader):
    framing: ClassVar[Literal["sse", "ndjson"]] = "ndjson"

    def __init__(self) -> None:
        self._tool_calls_seen = 0

    def read(self, data: JSONObject) -> Iterable[ChatChunk]:
        if data.get("error") is not None:
            raise read_refusal(200, data)
        is_done = data.get("done") is True
        yield ChatChunk(
            choices=(self._delta(data, is_done=is_done),),
            usage=read_usage(data) if is_done else None,
            model_name=find_text(data, "model"),
        )
        self.finished = is_done

    def _delta(self, data: JSONObject, *, is_done: bool) -> ChoiceDelta:
        message = object_at(data, "message")
        calls = self._tool_calls(message)
        has_tool_calls = self._tool_calls_seen > 0
        return ChoiceDelta(
            content=find_text(message, "content") or None,
            reasoning=find_text(message, "thinking") or None,
            tool_calls=calls,
            finish_reason=finish_reason_of(data, has_tool_calls=has_tool_calls) if is_done else None,
            native_finish_reason=find_text(data, "done_reason") if is_done else None,
        )

    def _tool_calls(self, message: JSONObject) -> tuple[ToolCallDelta, ...]:
        first = self._tool_calls_seen
        calls = read_tool_calls(message, first=first)
        self._tool_calls_seen += len(calls)
        return tuple(
            ToolCallDelta(number, call.id, call.name, call.arguments) for number, call in enumerate(calls, first)
        )


def read_model(item: JSONObject) -> ModelInfo:
    told = [word for word in list_at(item, "capabilities") if isinstance(word, str)]
    return ModelInfo(
        name=find_text(item, "name") or text_at(item, "model"),
        capabilities=tuple(CAPABILITIES[word] for word in told if word in CAPABILITIES),
        context_window=find_count(object_at(item, "details"), "context_length"),
    )


def read_refusal(status: int, body: Any) -> ProviderError:
    """Classify a refusal, or an error that came after the status 200."""
    if status < 400:
        status = 500
    told = object_or_empty(body).get("error")
    message = message_of({"message": told}, status)
    return _error_class(status, message, has_error=bool(told))(message, upstream_status=status)


def _error_class(status: int, message: str, *, has_error: bool) -> type[ProviderError]:
    if status in (400, 500) and CONTEXT_MESSAGE.search(message):
        return ContextTooLongError
    if status == 404 and not has_error:
        return ConfigurationError
    if status == 499:
        return UpstreamError
    return error_of_status(status)


class OllamaProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.OLLAMA
    api_key_hint: ClassVar[str] = "Ollama needs none, unless a proxy before it does."
    default_base_url: ClassVar[str] = "http://localhost:11434"
    needs_api_key: ClassVar[bool] = False
    settings_model: ClassVar[type[ProviderSettings]] = OllamaSettings
    settings: OllamaSettings

    def auth_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.endpoint.api_key}"} if self.endpoint.api_key else {}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        check_translatable(request, self.provider_type)
        return WireCall(
            path="/api/chat",
            json=request_body(request, self.settings, stream=stream),
            dropped_params=dropped_params(request, UNKNOWN_PARAMS),
        )

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return read_chat(body)

    def stream_reader(self) -> OllamaStreamReader:
        return OllamaStreamReader()

    def models_call(self, cursor: str | None) -> WireCall:
        return WireCall(path="/api/tags", method="GET")

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        return [read_model(item) for item in objects_at(body, "models")], None

    def probe_call(self) -> WireCall:
        return WireCall(path="/api/version", method="GET")

    def read_error(self, status: int, body: Any) -> ProviderError:
        return read_refusal(status, body)
