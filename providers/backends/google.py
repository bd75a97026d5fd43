"""Google's Gemini API.

Source: https://ai.google.dev/api/generate-content, read 2026-11.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from providers.backends.base import BaseProvider, StreamReader, WireCall
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
    CredentialRejectedError,
    MalformedReplyError,
    ProviderError,
    QuotaExhaustedError,
    UpstreamError,
)
from providers.types import (
    NOTHING,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceDelta,
    Extra,
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
from providers.wire.error_mapping import MAX_RETRY_AFTER_S, error_of_status, message_of
from providers.wire.json_access import (
    count_at,
    find_count,
    find_text,
    list_at,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)

UNKNOWN_PARAMS = ("parallel_tool_calls", "reasoning_effort", "user")

FINISH_REASONS: Mapping[str, FinishReason] = {
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
"""Every other reason is a plain end of the answer, or a failure."""

FAILED_FINISH = re.compile(r"MALFORMED_\w+|UNEXPECTED_TOOL_CALL|TOO_MANY_TOOL_CALLS|MISSING_THOUGHT_SIGNATURE")
FAILED_FINISH_IF_EMPTY = ("OTHER", "LANGUAGE")
ACCOUNT_LIMITED_FINISH = "PUP_LIMITED_DISABLED"

CAPABILITY_OF_METHOD = {"generateContent": "chat", "embedContent": "embeddings", "batchEmbedContents": "embeddings"}

CONTEXT_MESSAGE = re.compile(r"input token count.* exceeds the maximum number of tokens")
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")

IMAGE_TYPE_OF_SUFFIX = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
}

MODELS_PAGE_SIZE = "1000"


def generate_path(model_name: str, method: str) -> str:
    return f"/models/{quote(model_name.removeprefix('models/'), safe='')}:{method}"


def request_body(request: ChatRequest) -> JSONObject:
    """Translate a request.

    Errors: RequestRejectedError for what cannot be translated.
    """
    chat = conversation(request, ProviderType.GOOGLE)
    body: JSONObject = {"contents": [_content(turn) for turn in chat.turns]}
    if chat.system:
        body["systemInstruction"] = {"parts": [{"text": text} for text in chat.system]}
    if config := _generation_config(request):
        body["generationConfig"] = config
    return body


def _generation_config(request: ChatRequest) -> JSONObject:
    config = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "maxOutputTokens": max_tokens_of(request),
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
    }
    return {key: value for key, value in config.items() if value is not None}


def _content(turn: Turn) -> JSONObject:
    role = "model" if turn.role == "assistant" else "user"
    return {"role": role, "parts": [_part(part) for part in turn.parts]}


def _part(part: TextPart | ImagePart) -> JSONObject:
    if isinstance(part, TextPart):
        return {"text": part.text}
    inline = inline_image(part)
    if inline is not None:
        return {"inlineData": {"mimeType": inline.media_type, "data": inline.data}}
    media_type = IMAGE_TYPE_OF_SUFFIX.get(PurePosixPath(urlsplit(part.url).path).suffix.lower())
    return {"fileData": {"fileUri": part.url} | ({"mimeType": media_type} if media_type else {})}


def read_generation(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError, ContentBlockedError, or the error in the body.
    """
    check_answered(body)
    candidates = objects_at(body, "candidates")
    if not candidates:
        raise MalformedReplyError("The provider's answer has no candidates.")
    upstream_id = find_text(body, "responseId")
    return ChatResponse(
        choices=tuple(_choice(candidate, upstream_id) for candidate in candidates),
        model_name=(find_text(body, "modelVersion") or "").removeprefix("models/"),
        usage=find_usage(body),
        upstream_id=upstream_id,
    )


def check_answered(body: JSONObject) -> None:
    """Raise what a body of the status 200 says instead of an answer.

    Errors: ContentBlockedError where the prompt was blocked; the error in the body.
    """
    if body.get("error") is not None:
        raise read_refusal(200, body)
    block_reason = find_text(object_at(body, "promptFeedback"), "blockReason")
    if block_reason and not list_at(body, "candidates"):
        raise ContentBlockedError(f"The provider blocked the prompt: {block_reason}.", code=block_reason)


def find_usage(body: JSONObject) -> Usage | None:
    usage = object_at(body, "usageMetadata")
    if not usage:
        return None
    thoughts = find_count(usage, "thoughtsTokenCount")
    return Usage(
        prompt_tokens=count_at(usage, "promptTokenCount") + count_at(usage, "toolUsePromptTokenCount"),
        completion_tokens=count_at(usage, "candidatesTokenCount") + (thoughts or 0),
        cached_tokens=find_count(usage, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def finish_reason_of(native: str, *, has_content: bool, has_tool_calls: bool) -> FinishReason:
    """Return the canonical reason; Google has none for tool calls.

    Errors: UpstreamError or CredentialRejectedError where the reason is a failure.
    """
    if FAILED_FINISH.fullmatch(native) or (native in FAILED_FINISH_IF_EMPTY and not has_content):
        raise UpstreamError(f"The provider gave up on the answer: {native}.", code=native)
    if native == ACCOUNT_LIMITED_FINISH:
        raise CredentialRejectedError("The provider has limited the account of the key.", code=native)
    if has_tool_calls and native == "STOP":
        return "tool_calls"
    return FINISH_REASONS.get(native, "stop")


def _choice(candidate: JSONObject, upstream_id: str | None) -> Choice:
    parts = objects_at(object_at(candidate, "content"), "parts")
    content, reasoning = _text_of(parts, thought=False), _text_of(parts, thought=True)
    calls = tuple(_tool_call(part, number, upstream_id=upstream_id) for number, part in enumerate(_calling(parts)))
    native = text_at(candidate, "finishReason")
    return Choice(
        index=count_at(candidate, "index"),
        content=content,
        reasoning=reasoning,
        tool_calls=calls,
        finish_reason=finish_reason_of(native, has_content=bool(content or calls), has_tool_calls=bool(calls)),
        native_finish_reason=native,
    )


def _text_of(parts: Iterable[JSONObject], *, thought: bool) -> str | None:
    """Join the answer's text, or that of the thoughts, which are summaries and no part of the answer."""
    return "".join(find_text(part, "text") or "" for part in parts if (part.get("thought") is True) is thought) or None


def _calling(parts: Iterable[JSONObject]) -> list[JSONObject]:
    return [part for part in parts if part.get("functionCall") is not None]


def _tool_call(part: JSONObject, number: int, *, upstream_id: str | None) -> ToolCall:
    """Translate one call; models up to 2.5 give it no id, clients need one."""
    call = object_at(part, "functionCall")
    call_id = find_text(call, "id") or f"call_{upstream_id or 'google'}_{number}"
    return ToolCall(call_id, text_at(call, "name"), json.dumps(object_at(call, "args")), _signature(part))


def _signature(part: JSONObject) -> Extra:
    """Return the signature that must come back with the call, in the shape Google's own OpenAI endpoint gives it."""
    signature = find_text(part, "thoughtSignature")
    if signature is None:
        return NOTHING
    return {"extra_content": {"google": {"thought_signature": signature}}}


class GoogleStreamReader(StreamReader):
    """Translates a stream of partial answers, whose end is a finish reason, not a mark of its own."""

    def __init__(self) -> None:
        self._calls_of_choice: dict[int, int] = {}
        self._choices_with_content: set[int] = set()

    def read(self, data: JSONObject) -> Iterable[ChatChunk]:
        check_answered(data)
        upstream_id = find_text(data, "responseId")
        model_name = find_text(data, "modelVersion")
        yield ChatChunk(
            choices=tuple(self._delta(candidate, upstream_id) for candidate in objects_at(data, "candidates")),
            usage=find_usage(data),
            model_name=model_name.removeprefix("models/") if model_name else None,
            upstream_id=upstream_id,
        )

    def _delta(self, candidate: JSONObject, upstream_id: str | None) -> ChoiceDelta:
        index = count_at(candidate, "index")
        parts = objects_at(object_at(candidate, "content"), "parts")
        delta = ChoiceDelta(
            index=index,
            content=_text_of(parts, thought=False),
            reasoning=_text_of(parts, thought=True),
            tool_calls=self._tool_calls(parts, index=index, upstream_id=upstream_id),
            native_finish_reason=find_text(candidate, "finishReason") or None,
        )
        if delta.content or delta.tool_calls:
            self._choices_with_content.add(index)
        return self._finished(delta) if delta.native_finish_reason else delta

    def _tool_calls(
        self, parts: Iterable[JSONObject], *, index: int, upstream_id: str | None
    ) -> tuple[ToolCallDelta, ...]:
        first = self._calls_of_choice.get(index, 0)
        calls = [
            _tool_call(part, number, upstream_id=upstream_id) for number, part in enumerate(_calling(parts), first)
        ]
        self._calls_of_choice[index] = first + len(calls)
        return tuple(
            ToolCallDelta(number, call.id, call.name, call.arguments, call.extra)
            for number, call in enumerate(calls, first)
        )

    def _finished(self, delta: ChoiceDelta) -> ChoiceDelta:
        finish_reason = finish_reason_of(
            delta.native_finish_reason or "",
            has_content=delta.index in self._choices_with_content,
            has_tool_calls=self._calls_of_choice[delta.index] > 0,
        )
        self.finished = True
        return replace(delta, finish_reason=finish_reason)


def read_models_page(body: JSONObject) -> list[ModelInfo]:
    """Return the page's models, but for those known to neither chat nor embed: the hub has no use for them."""
    listed = objects_at(body, "models")
    return [read_model(item) for item in listed if _capabilities(item) or not item.get("supportedGenerationMethods")]


def read_model(item: JSONObject) -> ModelInfo:
    return ModelInfo(
        name=text_at(item, "name").removeprefix("models/"),
        capabilities=_capabilities(item),
        context_window=find_count(item, "inputTokenLimit"),
        max_output_tokens=find_count(item, "outputTokenLimit"),
    )


def _capabilities(item: JSONObject) -> tuple[str, ...]:
    methods = [method for method in list_at(item, "supportedGenerationMethods") if isinstance(method, str)]
    found = {CAPABILITY_OF_METHOD[method] for method in methods if method in CAPABILITY_OF_METHOD}
    if "chat" in found and item.get("thinking") is True:
        found.add("reasoning")
    return tuple(sorted(found))


def read_refusal(status: int, body: Any) -> ProviderError:
    """Classify a refusal, whose object may stand in a list of one, or an error that came after the status 200."""
    if isinstance(body, list) and body:
        body = body[0]
    error = object_or_empty(object_or_empty(body).get("error"))
    if status < 400:
        status = _status_in(error)
    listed = error.get("details")
    details = [object_or_empty(detail) for detail in listed] if isinstance(listed, list) else []
    message = message_of(error, status)
    error_class = _error_class(status, message, error=error, details=details)
    return error_class(
        message,
        upstream_status=status,
        retry_after_s=_retry_delay_s(details),
        code=_reason(details) or text_or_none(error.get("status")),
    )


def _status_in(error: Mapping[str, Any]) -> int:
    code = error.get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _error_class(
    status: int, message: str, *, error: Mapping[str, Any], details: Iterable[Mapping[str, Any]]
) -> type[ProviderError]:
    if status == 400 and CONTEXT_MESSAGE.search(message):
        return ContextTooLongError
    if status == 400 and (_reason(details) == "API_KEY_INVALID" or error.get("status") == "FAILED_PRECONDITION"):
        return CredentialRejectedError
    if status == 404 and not error:
        return ConfigurationError
    if status == 429 and _is_daily(details):
        return QuotaExhaustedError
    return error_of_status(status)


def _reason(details: Iterable[Mapping[str, Any]]) -> str | None:
    reasons = (text_or_none(detail.get("reason")) for detail in details)
    return next((reason for reason in reasons if reason), None)


def _is_daily(details: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a quota of the day is used up, which no wait of seconds mends."""
    listed = (detail.get("violations") for detail in details)
    violations = [object_or_empty(item) for items in listed if isinstance(items, list) for item in items]
    return any("PerDay" in str(violation.get("quotaId")) for violation in violations)


def _retry_delay_s(details: Iterable[Mapping[str, Any]]) -> float | None:
    for detail in details:
        if found := DURATION.fullmatch(str(detail.get("retryDelay"))):
            return min(math.ceil(float(found[1])), MAX_RETRY_AFTER_S)
    return None


class GoogleProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.GOOGLE
    api_key_hint: ClassVar[str] = "Begins with <code>AIza</code>; from aistudio.google.com, API keys."
    price_list: ClassVar[str] = "google"
    otel_name: ClassVar[str] = "gcp.gemini"
    default_base_url: ClassVar[str] = "https://generativelanguage.googleapis.com/v1"

    def auth_headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.endpoint.api_key}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        check_translatable(request, self.provider_type)
        return WireCall(
            path=generate_path(request.model_name, "streamGenerateContent" if stream else "generateContent"),
            json=request_body(request),
            query={"alt": "sse"} if stream else NOTHING,
            dropped_params=dropped_params(request, UNKNOWN_PARAMS),
        )

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return read_generation(body)

    def stream_reader(self) -> GoogleStreamReader:
        return GoogleStreamReader()

    def models_call(self, cursor: str | None) -> WireCall:
        query = {"pageSize": MODELS_PAGE_SIZE} | ({"pageToken": cursor} if cursor else {})
        return WireCall(path="/models", method="GET", query=query)

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        return read_models_page(body), find_text(body, "nextPageToken") or None

    def probe_call(self) -> WireCall:
        return WireCall(path="/models", method="GET", query={"pageSize": "1"})

    def read_error(self, status: int, body: Any) -> ProviderError:
        return read_refusal(status, body)
