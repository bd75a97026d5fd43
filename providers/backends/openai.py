"""OpenAI's chat completions, which other types state their differences from.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import Field, StringConstraints

from providers.backends.base import BaseProvider, ProviderSettings, StreamReader, WireCall
from providers.errors import (
    ContentBlockedError,
    ContextTooLongError,
    CredentialRejectedError,
    MalformedReplyError,
    ModelNotServedError,
    OverloadedError,
    ProviderError,
    QuotaExhaustedError,
    RateLimitedError,
    UpstreamError,
)
from providers.types import (
    NOTHING,
    ChatChunk,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceDelta,
    ContentPart,
    Extra,
    FinishReason,
    ImagePart,
    JSONObject,
    ModelInfo,
    OpaquePart,
    ProviderType,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providers.wire.error_mapping import error_of_status, message_of
from providers.wire.json_access import (
    count_at,
    count_or_none,
    find_count,
    find_text,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)

SAME_NAMED_PARAMS = (
    "temperature",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "n",
    "response_format",
    "reasoning_effort",
    "user",
)

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}

ERROR_OF_CODE: Mapping[str, type[ProviderError]] = {
    "insufficient_quota": QuotaExhaustedError,
    "credit_balance_exhausted": QuotaExhaustedError,
    "organization_spend_limit_exceeded": QuotaExhaustedError,
    "project_spend_limit_exceeded": QuotaExhaustedError,
    "organization_usage_limit_exceeded": QuotaExhaustedError,
    "billing_hard_limit_reached": QuotaExhaustedError,
    "rate_limit_exceeded": RateLimitedError,
    "slow_down": RateLimitedError,
    "invalid_api_key": CredentialRejectedError,
    "model_not_found": ModelNotServedError,
    "invalid_model": ModelNotServedError,
    "context_length_exceeded": ContextTooLongError,
    "exceed_context_size_error": ContextTooLongError,
    "content_filter": ContentBlockedError,
    "content_policy_violation": ContentBlockedError,
    "invalid_prompt": ContentBlockedError,
    "overloaded": OverloadedError,
    "overloaded_error": OverloadedError,
    "unavailable_error": OverloadedError,
}
CONTEXT_MESSAGE = re.compile(r"maximum context length|context size|prompt is too long", re.IGNORECASE)

_TOOL_PARAMS = ("tool_choice", "parallel_tool_calls")
_MESSAGE_KEYS = frozenset({"role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning"})
_CHOICE_KEYS = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_REPLY_KEYS = frozenset({"id", "object", "model", "choices", "usage"})
_TOOL_CALL_KEYS = frozenset({"id", "type", "index", "function"})

HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]+$")]


class OpenAISettings(ProviderSettings):
    """Which organization and project the calls are billed to; None leaves it to the key."""

    organization: HeaderValue | None = Field(default=None, description="Who is billed.", examples=["org-4Hn2kD81"])
    project: HeaderValue | None = Field(
        default=None, description="The project that is billed.", examples=["proj_9aBc27"]
    )


def openai_payload(request: ChatRequest, *, length_param: str) -> JSONObject:
    """Translate a request, with all that it holds besides what is known.

    Shape: `length_param` is the name that `max_tokens` goes by, unless the caller used another one.
    """
    body: JSONObject = {"model": request.model_name, "messages": openai_messages(request.messages)}
    body |= {name: value for name in SAME_NAMED_PARAMS if (value := getattr(request, name)) is not None}
    if request.stop:
        body["stop"] = list(request.stop)
    if request.max_tokens is not None and "max_completion_tokens" not in request.extra:
        body[length_param] = request.max_tokens
    if request.tools:
        body["tools"] = list(request.tools)
        body |= {name: value for name in _TOOL_PARAMS if (value := getattr(request, name)) is not None}
    body |= {name: value for name, value in request.extra.items() if name != "stream_options"}
    return body


def meaningless_params(request: ChatRequest) -> tuple[str, ...]:
    """Return the parameters about tools that a request without tools has: they are an error at the provider."""
    return () if request.tools else tuple(name for name in _TOOL_PARAMS if getattr(request, name) is not None)


def openai_messages(messages: Iterable[ChatMessage]) -> list[JSONObject]:
    return [_message(message) for message in messages]


def _message(message: ChatMessage) -> JSONObject:
    wire: JSONObject = {"role": message.role, "content": openai_content(message.content)}
    if message.tool_calls:
        wire["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire | dict(message.extra)


def openai_content(content: str | tuple[ContentPart, ...] | None) -> str | list[JSONObject] | None:
    return [_part(part) for part in content] if isinstance(content, tuple) else content


def _part(part: ContentPart) -> JSONObject:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text, **part.extra}
        case ImagePart():
            detail = {} if part.detail is None else {"detail": part.detail}
            return {"type": "image_url", "image_url": {"url": part.url, **detail}, **part.extra}
        case OpaquePart():
            return dict(part.wire)


def _tool_call(call: ToolCall) -> JSONObject:
    if not call.name:  # a call of another kind than a function's lies in `extra` as it came
        return {"id": call.id, **call.extra}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function, **call.extra}


def read_chat(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError; UpstreamError for an answer broken off.
    """
    check_no_error(body)
    choices = objects_at(body, "choices")
    if not choices:
        raise MalformedReplyError("The provider's reply holds no choices.")
    return ChatResponse(
        choices=tuple(_read_choice(choice, position) for position, choice in enumerate(choices)),
        model_name=find_text(body, "model") or "",
        usage=find_usage(body),
        upstream_id=find_text(body, "id"),
        extra=_rest(body, _REPLY_KEYS),
    )


def check_no_error(body: JSONObject) -> None:
    """Errors: the error that a body or a frame sent with 200 reports, in an envelope or flat."""
    if body.get("error") or body.get("object") == "error":
        raise read_refusal(200, body)


def _read_choice(choice: JSONObject, position: int) -> Choice:
    if "message" not in choice:
        raise MalformedReplyError("The provider's choice lacks `message`.")
    message = object_at(choice, "message")
    content, reasoning = _read_content(message)
    calls = tuple(_read_tool_call(call, number) for number, call in enumerate(objects_at(message, "tool_calls")))
    native = find_text(choice, "finish_reason") or None
    index = find_count(choice, "index")
    return Choice(
        index=position if index is None else index,
        content=content,
        reasoning=reasoning,
        refusal=find_text(message, "refusal"),
        tool_calls=calls,
        finish_reason=_finish_reason(native) if native else "tool_calls" if calls else "stop",
        native_finish_reason=native,
        logprobs=object_at(choice, "logprobs") or None,
        extra=_choice_extra(choice, message),
    )


def _read_content(message: JSONObject) -> tuple[str | None, str | None]:
    """Return the text and the reasoning of a message or a delta; some servers mix both in a list of parts."""
    reasoning = text_or_none(message.get("reasoning_content"))
    if reasoning is None:
        reasoning = text_or_none(message.get("reasoning"))
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content, reasoning
    parts = objects_at(message, "content")
    thoughts = [thought for part in parts if part.get("type") == "thinking" for thought in objects_at(part, "thinking")]
    return _joined_text(parts), reasoning or _joined_text(thoughts)


def _joined_text(parts: Iterable[JSONObject]) -> str | None:
    return "".join(find_text(part, "text") or "" for part in parts if part.get("type") == "text") or None


def _read_tool_call(call: JSONObject, number: int) -> ToolCall:
    id_ = find_text(call, "id") or f"call_{number}"
    if "function" not in call:
        return ToolCall(id_, "", "", call)
    function = object_at(call, "function")
    arguments = _arguments_text(function) or "{}"
    return ToolCall(id_, text_at(function, "name"), arguments, _rest(call, _TOOL_CALL_KEYS))


def _arguments_text(function: JSONObject) -> str:
    """Return the arguments as JSON text; some servers send the object itself."""
    arguments = function.get("arguments")
    return orjson.dumps(arguments).decode() if isinstance(arguments, dict) else find_text(function, "arguments") or ""


def _finish_reason(native: str) -> FinishReason:
    if native == "error":
        raise UpstreamError("The provider broke off the answer.")
    return FINISH_REASONS.get(native, "stop")


def _choice_extra(choice: JSONObject, message: JSONObject) -> Extra:
    of_choice, of_message = _rest(choice, _CHOICE_KEYS), _rest(message, _MESSAGE_KEYS)
    return {**of_choice, **of_message} if of_choice and of_message else of_choice or of_message


def _rest(wire: JSONObject, known: Set[str]) -> Extra:
    if wire.keys() <= known:
        return NOTHING
    return {key: value for key, value in wire.items() if key not in known}


def find_usage(body: JSONObject) -> Usage | None:
    """Return the usage where it is told in whole numbers: a good answer is not lost over a bad one."""
    usage = object_or_empty(body.get("usage"))
    of_prompt = object_or_empty(usage.get("prompt_tokens_details"))
    of_completion = object_or_empty(usage.get("completion_tokens_details"))
    prompt_tokens = count_or_none(usage.get("prompt_tokens"))
    if prompt_tokens is None:
        return None
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=count_or_none(usage.get("completion_tokens")) or 0,
        cached_tokens=count_or_none(of_prompt.get("cached_tokens")),
        cache_write_tokens=count_or_none(of_prompt.get("cache_write_tokens")),
        reasoning_tokens=count_or_none(of_completion.get("reasoning_tokens")),
    )


class OpenAIStreamReader(StreamReader):
    """Finished once every choice that began has a finish reason."""

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._tool_calls_begun: dict[int, int] = {}

    def read(self, data: JSONObject) -> Iterable[ChatChunk]:
        check_no_error(data)
        choices = tuple([self._delta(choice) for choice in objects_at(data, "choices")])
        if choices:
            self.finished = self._begun == self._ended
        chunk = ChatChunk(
            choices=choices,
            usage=find_usage(data) if data.get("usage") else None,
            model_name=find_text(data, "model"),
            upstream_id=find_text(data, "id"),
            extra=_rest(data, _REPLY_KEYS),
        )
        return (chunk,)

    def _delta(self, choice: JSONObject) -> ChoiceDelta:
        index = count_at(choice, "index")
        delta = object_at(choice, "delta") or object_at(choice, "message")  # the latter from servers that do not stream
        content, reasoning = _read_content(delta)
        native = find_text(choice, "finish_reason") or None
        reason = _finish_reason(native) if native else None
        self._begun.add(index)
        if reason:  # some servers send one more delta after it, with the usage
            self._ended.add(index)
        return ChoiceDelta(
            index=index,
            content=content,
            reasoning=reasoning,
            refusal=find_text(delta, "refusal"),
            tool_calls=self._tool_calls(index, delta) if "tool_calls" in delta else (),
            finish_reason=reason,
            native_finish_reason=native,
            logprobs=object_at(choice, "logprobs") or None,
            extra=_choice_extra(choice, delta),
        )

    def _tool_calls(self, choice_index: int, delta: JSONObject) -> tuple[ToolCallDelta, ...]:
        return tuple([self._tool_call(choice_index, call) for call in objects_at(delta, "tool_calls")])

    def _tool_call(self, choice_index: int, call: JSONObject) -> ToolCallDelta:
        function = object_at(call, "function")
        is_function = call.get("type") in (None, "function")
        return ToolCallDelta(
            index=self._tool_call_index(choice_index, call),
            id=find_text(call, "id"),
            name=find_text(function, "name"),
            arguments=_arguments_text(function),
            extra=_rest(call, _TOOL_CALL_KEYS if is_function else _TOOL_CALL_KEYS - {"type"}),
        )

    def _tool_call_index(self, choice_index: int, call: JSONObject) -> int:
        """Return the call's index; where servers leave it out, an id begins a new call."""
        begun = self._tool_calls_begun.get(choice_index, 0)
        index = find_count(call, "index")
        if index is None:
            index = begun if call.get("id") else max(begun - 1, 0)
        self._tool_calls_begun[choice_index] = max(begun, index + 1)
        return index


def read_refusal(status: int, body: Any) -> ProviderError:
    """Classify an error by its code, its type and the status, in this order.

    Shape: OpenAI's envelope, or one of those that compatible servers have: flat, `detail`, or a text alone.
    """
    error = _error_object(body)
    codes = [str(value) for value in (error.get("code"), error.get("type")) if value is not None]
    told_status = _told_status(codes, status)
    kind = next((ERROR_OF_CODE[code] for code in codes if code in ERROR_OF_CODE), None)
    message = message_of(error, told_status)
    if kind is None and told_status in (400, 422) and CONTEXT_MESSAGE.search(message):
        kind = ContextTooLongError
    kind = kind or error_of_status(told_status)
    code, param = text_or_none(error.get("code")), text_or_none(error.get("param"))
    return kind(message, upstream_status=status, code=code, param=param)


def _told_status(codes: Iterable[str], status: int) -> int:
    """Return the status that an error sent with 200 names as its code, or else 500."""
    if status >= 400:
        return status
    return next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), 500)


def _error_object(body: Any) -> JSONObject:
    error = body.get("error", body) if isinstance(body, dict) else {}
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return {}
    detail = error.get("detail")
    if isinstance(error.get("message"), dict):
        detail = error["message"].get("detail", detail)
    return error if detail is None else {**error, "message": _detail_text(detail)}


def _detail_text(detail: Any) -> str | None:
    """Return what validators of the `detail` kind say, without the input that they repeat."""
    if isinstance(detail, list):
        return "; ".join(_fault_text(item) for item in detail if isinstance(item, dict))
    return text_or_none(detail)


def _fault_text(fault: JSONObject) -> str:
    place = fault.get("loc")
    return f"{'.'.join(map(str, place)) if isinstance(place, list) else '?'}: {fault.get('msg')}"


class OpenAIProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.OPENAI
    api_key_hint: ClassVar[str] = "Begins with <code>sk-proj-</code>; from platform.openai.com, API keys."
    price_list: ClassVar[str] = "openai"
    default_base_url: ClassVar[str] = "https://api.openai.com/v1"
    settings_model: ClassVar[type[ProviderSettings]] = OpenAISettings
    settings: OpenAISettings
    length_param: ClassVar[str] = "max_completion_tokens"

    def auth_headers(self) -> dict[str, str]:
        headers = {
            "authorization": f"Bearer {self.endpoint.api_key}" if self.endpoint.api_key else None,
            "openai-organization": self.settings.organization,
            "openai-project": self.settings.project,
        }
        return {name: value for name, value in headers.items() if value}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        body = openai_payload(request, length_param=self.length_param)
        if stream:
            options = {**request.extra.get("stream_options", {}), "include_usage": True}
            body |= {"stream": True, "stream_options": options}
        return WireCall(path="/chat/completions", json=body, dropped_params=meaningless_params(request))

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return read_chat(body)

    def stream_reader(self) -> StreamReader:
        return OpenAIStreamReader()

    def models_call(self, cursor: str | None) -> WireCall:
        return WireCall(path="/models", method="GET")

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        return [self.read_model(item) for item in objects_at(body, "data")], None

    def read_model(self, item: JSONObject) -> ModelInfo:
        return ModelInfo(name=text_at(item, "id"))

    def probe_call(self) -> WireCall:
        return self.models_call(None)

    def read_error(self, status: int, body: Any) -> ProviderError:
        return read_refusal(status, body)

    def without_refused(self, call: WireCall, error: ProviderError) -> WireCall | None:
        """Leave out `stream_options` where a server does not know it; the usage is then lost."""
        if call.json is None or "stream_options" not in call.json or error.upstream_status not in (400, 422):
            return None
        if "stream_options" not in f"{error.param} {error.message}":
            return None
        return replace(call, json={key: value for key, value in call.json.items() if key != "stream_options"})
