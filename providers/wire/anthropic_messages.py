"""Anthropic's Messages API, as providers take it and as the hub serves it.

Source: https://platform.claude.com/docs/en/api/messages and /streaming, read 2026-11.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import takewhile
from typing import Any, Literal

import orjson

from providers.backends.refusals import error_of_status, message_of
from providers.backends.shapes import (
    count_or_none,
    find_text,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)
from providers.errors import (
    ConfigurationError,
    ContentBlockedError,
    ContextTooLongError,
    MalformedReplyError,
    ProviderError,
    QuotaExhaustedError,
    RequestRejectedError,
    UnsupportedRequestError,
    UpstreamError,
)
from providers.wire.anthropic_messages_schema import MESSAGES_BODY
from providers.wire.codec import EncodedRequest, ReplyHead, StreamDecoder, StreamEncoder
from providers.wire.data_urls import InlineData, find_inline_data
from providers.wire.efforts import BUDGET_TOKENS_OF_EFFORT, effort_of_budget
from providers.wire.foreign import check_foreign_params, foreign_names, own_fields, unsupported
from providers.wire.rendering import dump_json, event_frame
from providers.wire.structured_schemas import simplified
from providers.wire.types import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    Delta,
    Effort,
    ExtraDelta,
    FilePart,
    FinishReason,
    ImagePart,
    JSONObject,
    OpaquePart,
    OpaqueTool,
    OutputFormat,
    Part,
    PartDelta,
    PartSigned,
    PartStarted,
    Passthrough,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    Role,
    Sampling,
    Signature,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolMode,
    ToolResultPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.validation import check_body

ThinkingType = Literal["adaptive", "enabled", "disabled"]

FORMAT = WireFormat.ANTHROPIC_MESSAGES
TARGET = "providers of type anthropic"
JSON_INSTRUCTION = "Answer with a single JSON object and nothing else: no words around it, no code fence."

SAMPLING_PARAMS = ("temperature", "top_p", "top_k")
UNKNOWN_PARAMS = ("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
MIN_BUDGET_TOKENS = 1024

TYPE_OF_TOOL_MODE: Mapping[ToolMode, str] = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
TOOL_MODE_OF_TYPE: Mapping[str, ToolMode] = {"auto": "auto", "none": "none", "any": "required", "tool": "tool"}

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
UNSAMPLED_MESSAGE = re.compile(r"`?(temperature|top_p|top_k)`? is deprecated")
EITHER_MESSAGE = re.compile(r"`temperature` and `top_p` cannot both be specified")

USAGE_KEYS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")

_REQUEST_KEYS = frozenset(
    {
        "model", "messages", "max_tokens", "system", *SAMPLING_PARAMS, "stop_sequences", "tools", "tool_choice",
        "thinking", "output_config", "metadata", "stream",
    }
)  # fmt: skip
_REPLY_KEYS = frozenset(
    {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "usage"}
)
_STOP_KEYS = ("stop_sequence", "stop_details")
_FOREIGN_ID_MARK = re.compile(r"[^A-Za-z0-9_-]")


# Requests, as providers get them


def encode_request(
    request: ChatRequest,
    *,
    stream: bool,
    default_max_tokens: int,
    takes_sampling: bool = True,
    thinking: Collection[ThinkingType] = (),
) -> EncodedRequest:
    """Translate a request; one that came in this format goes out as it came.

    Shape: `takes_sampling` tells whether the API's version and the model take temperature, top_p and top_k; `thinking`
    are the types of thinking that the model has, as the model list tells: it is asked for none of the others.
    Errors: RequestRejectedError, UnsupportedRequestError for what cannot be said.
    """
    check_foreign_params(request, FORMAT, target=TARGET)
    encoder = _RequestEncoder(request, takes_sampling=takes_sampling, default_max_tokens=default_max_tokens)
    return encoder.encode(stream=stream, thinking=thinking)


class _RequestEncoder:
    """Translates one request; notes the parameters that are lost or changed on the way."""

    def __init__(self, request: ChatRequest, *, takes_sampling: bool, default_max_tokens: int) -> None:
        self._request = request
        self._own = own_fields(request.extra, FORMAT)
        self._is_own = request.extra is not None and request.extra.format is FORMAT
        self._takes_sampling = takes_sampling
        self._max_tokens = request.sampling.max_tokens
        self._default_max_tokens = default_max_tokens
        self._dropped: set[str] = set()

    def encode(self, *, stream: bool, thinking: Collection[ThinkingType]) -> EncodedRequest:
        request = self._request
        instructions = list(takewhile(_is_instruction, request.messages))
        body: JSONObject = {**self._own, "model": request.model_name}
        system = [block for message in instructions for block in _encode_instruction(message)]
        output_config = self._output_config(system)
        if self._is_own:
            output_config |= self._own_reasoning(body)
        else:
            output_config |= self._reasoning(body, thinking)
        body["max_tokens"] = self._max_tokens or self._default_max_tokens
        body["messages"] = self._messages(request.messages[len(instructions) :])
        if system:
            body["system"] = system
        if output_config:
            body["output_config"] = {**object_or_empty(self._own.get("output_config")), **output_config}
        if request.user:
            body["metadata"] = {**object_or_empty(self._own.get("metadata")), "user_id": request.user}
        body |= self._sampling()
        body |= self._tools()
        if stream:
            body["stream"] = True
        self._dropped.update(foreign_names(request, FORMAT))
        return EncodedRequest(body, tuple(sorted(self._dropped)))

    def _messages(self, messages: Iterable[ChatMessage]) -> list[JSONObject]:
        """Join neighbours of one side; the results of calls come before what the user says beside them.

        Errors: RequestRejectedError when nobody says anything.
        """
        turns: list[JSONObject] = []
        for message in messages:
            role, blocks = self._message(message)
            if blocks and turns and turns[-1]["role"] == role:
                turns[-1]["content"] += blocks
            elif blocks:
                turns.append({"role": role, "content": blocks})
        if not turns:
            raise RequestRejectedError(
                f"{TARGET.capitalize()} need at least one message of the user.", param="messages"
            )
        for turn in turns:
            if turn["role"] == "user":
                turn["content"].sort(key=lambda block: block.get("type") != "tool_result")
        last = turns[-1]["content"][-1]
        if turns[-1]["role"] == "assistant" and last.get("type") == "text":
            last["text"] = last["text"].rstrip()
        return turns

    def _message(self, message: ChatMessage) -> tuple[str, list[JSONObject]]:
        """Return the side of a message and its blocks; later instructions are the user's where they may not stand."""
        if _is_instruction(message):
            return "system" if self._is_own else "user", _encode_instruction(message)
        if message.role == "assistant":
            return "assistant", [block for part in message.parts if (block := _encode_assistant_part(part)) is not None]
        return "user", [block for part in message.parts if (block := _encode_user_part(part)) is not None]

    def _sampling(self) -> JSONObject:
        sampling = self._request.sampling
        if sampling.n is not None and sampling.n > 1:
            raise unsupported("n", TARGET)
        if sampling.logprobs:
            raise unsupported("logprobs", TARGET)
        self._dropped.update(name for name in UNKNOWN_PARAMS if getattr(sampling, name) is not None)
        body: JSONObject = {name: value for name, value in sampling.given() if name in SAMPLING_PARAMS}
        if not self._takes_sampling:
            self._dropped.update(body)
            body = {}
        if "temperature" in body and not 0 <= body["temperature"] <= 1:
            self._dropped.add("temperature")
            body["temperature"] = min(max(body["temperature"], 0.0), 1.0)
        if stops := [text for text in sampling.stop or () if text.strip()]:
            body["stop_sequences"] = stops
        if len(stops) < len(sampling.stop or ()):  # those of white space alone are refused
            self._dropped.add("stop")
        return body

    def _output_config(self, system: list[JSONObject]) -> JSONObject:
        """Return the form of the answer; where it is JSON of no schema, the instructions ask for it."""
        form = self._request.output_format
        if form is None or form.kind == "text":
            return {}
        if form.schema is None:
            system.append({"type": "text", "text": JSON_INSTRUCTION})
            self._dropped.add("response_format")
            return {}
        schema: Mapping[str, Any] = form.schema
        if not self._is_own:
            schema, is_lossy = simplified(schema)
            if is_lossy and form.strict:
                raise _unkept_strictness("response_format")
            if is_lossy:
                self._dropped.add("response_format.schema")
            if form.description:
                schema.setdefault("description", form.description)
        return {"format": {"type": "json_schema", "schema": schema}}

    def _own_reasoning(self, body: JSONObject) -> JSONObject:
        """Say what the caller said of thinking, and nothing of what it did not."""
        reasoning = self._request.reasoning or Reasoning()
        if reasoning.budget_tokens is not None:
            body.setdefault("thinking", {"type": "enabled", "budget_tokens": reasoning.budget_tokens})
        if reasoning.effort == "none":
            body.setdefault("thinking", {"type": "disabled"})
        return {"effort": reasoning.effort} if reasoning.effort not in (None, "none") else {}

    def _reasoning(self, body: JSONObject, thinking: Collection[ThinkingType]) -> JSONObject:
        """Ask for as much thinking as another format says, in the way that the model has."""
        reasoning = self._request.reasoning
        if reasoning is None:
            return {}
        choice = self._request.tool_choice
        is_forced = choice is not None and choice.mode in ("required", "tool") and bool(self._request.tools)
        if reasoning.effort == "none" or reasoning.budget_tokens == 0:
            if "disabled" in thinking:
                body["thinking"] = {"type": "disabled"}
            else:
                self._dropped.add("reasoning_effort")
            return {}
        if "adaptive" in thinking:
            if not is_forced:  # a model that thinks can be forced to no call
                self._think(body, {"type": "adaptive", "display": "summarized"})
            effort = _effort(reasoning)
            return {"effort": effort} if effort else {}
        budget_tokens = self._budget_tokens(reasoning) if "enabled" in thinking and not is_forced else None
        if budget_tokens is None:
            self._dropped.add("reasoning_effort")
        else:
            self._think(body, {"type": "enabled", "budget_tokens": budget_tokens})
        return {}

    def _think(self, body: JSONObject, config: JSONObject) -> None:
        body["thinking"] = config
        self._takes_sampling = False

    def _budget_tokens(self, reasoning: Reasoning) -> int | None:
        """Return the tokens to think with, which count as the answer's, None where that may be too short for any."""
        budget_tokens = reasoning.budget_tokens
        if budget_tokens is None or budget_tokens < 0:
            budget_tokens = BUDGET_TOKENS_OF_EFFORT[reasoning.effort or "medium"]
        budget_tokens = max(budget_tokens, MIN_BUDGET_TOKENS)
        if self._max_tokens is None:
            self._max_tokens = budget_tokens + self._default_max_tokens
        budget_tokens = min(budget_tokens, self._max_tokens - 1)
        return budget_tokens if budget_tokens >= MIN_BUDGET_TOKENS else None

    def _tools(self) -> JSONObject:
        request = self._request
        if not request.tools:
            self._dropped.update(
                name for name in ("tool_choice", "parallel_tool_calls") if getattr(request, name) is not None
            )
            return {}
        body: JSONObject = {"tools": [_encode_tool(tool, is_own=self._is_own) for tool in request.tools]}
        choice = request.tool_choice
        is_single = request.parallel_tool_calls is False and (choice is None or choice.mode != "none")
        if choice is not None or is_single:
            wire: JSONObject = {"type": TYPE_OF_TOOL_MODE[choice.mode if choice else "auto"]}
            if choice is not None and choice.mode == "tool":
                wire["name"] = choice.name
            if is_single:
                wire["disable_parallel_tool_use"] = True
            body["tool_choice"] = wire
        return body


def _is_instruction(message: ChatMessage) -> bool:
    return message.role in ("system", "developer")


def _effort(reasoning: Reasoning) -> Effort | None:
    effort = reasoning.effort
    if effort is None and reasoning.budget_tokens is not None:
        effort = effort_of_budget(reasoning.budget_tokens)
    return "low" if effort == "minimal" else effort


def _unkept_strictness(param: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(
        f"The hub cannot send `{param}` to {TARGET}: they do not hold answers to all of the strict schema.", param=param
    )


def _unsupported_content(what: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"The hub cannot send {what} to {TARGET}.", param="messages")


def _encode_tool(tool: Tool | OpaqueTool, *, is_own: bool) -> JSONObject:
    if isinstance(tool, OpaqueTool):
        if tool.format is not FORMAT:
            raise unsupported("tools", TARGET)
        return dict(tool.wire)
    schema: Mapping[str, Any] = tool.parameters or {}
    if tool.strict and not is_own:
        schema, is_lossy = simplified(schema)
        if is_lossy:
            raise _unkept_strictness("tools")
    wire: JSONObject = {**own_fields(tool.extra, FORMAT), "name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    wire["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    if tool.strict or (is_own and tool.strict is not None):
        wire["strict"] = tool.strict
    return wire


def _encode_instruction(message: ChatMessage) -> list[JSONObject]:
    """Errors: UnsupportedRequestError for other than text."""
    for part in message.parts:
        if not isinstance(part, TextPart):
            raise _unsupported_content(f"content other than text in a message of the role `{message.role}`")
    return [block for part in message.parts if (block := _encode_text(part)) is not None]


def _encode_text(part: Part) -> JSONObject | None:
    """Return the block of a text, None for a blank one, which is refused."""
    if not isinstance(part, TextPart | RefusalPart) or not part.text.strip():
        return None
    return {"type": "text", "text": part.text, **own_fields(part.extra, FORMAT)}


def _encode_assistant_part(part: Part) -> JSONObject | None:
    """Return a part of the assistant's turn, None for what says nothing here: blank text, thoughts of other models.

    Errors: UnsupportedRequestError.
    """
    match part:
        case TextPart() | RefusalPart():
            return _encode_text(part)
        case ReasoningPart():
            return _encode_own_thought(part)
        case ToolCallPart():
            return {
                "type": "tool_use",
                "id": _plain_id(part.id),
                "name": part.name,
                "input": _arguments_object(part),
                **own_fields(part.extra, FORMAT),
            }
        case OpaquePart() if part.format is FORMAT:
            return dict(part.wire)
        case ImagePart() | FilePart():
            raise _unsupported_content("images or files in a message of the role `assistant`")
        case _:
            raise _unsupported_content("content that only another format knows")


def _encode_own_thought(part: ReasoningPart) -> JSONObject | None:
    if part.signature is None or part.signature.format is not FORMAT:
        return None
    if part.is_redacted:
        return {"type": "redacted_thinking", "data": part.signature.value}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature.value}


def _encode_user_part(part: Part) -> JSONObject | None:
    """Errors: UnsupportedRequestError, RequestRejectedError."""
    match part:
        case TextPart() | RefusalPart():
            return _encode_text(part)
        case ImagePart():
            return {"type": "image", "source": _image_source(part.url), **own_fields(part.extra, FORMAT)}
        case FilePart():
            return _encode_file(part)
        case ToolResultPart():
            return _encode_result(part)
        case OpaquePart() if part.format is FORMAT:
            return dict(part.wire)
        case _:
            raise _unsupported_content("content that only another format knows")


def _image_source(url: str) -> JSONObject:
    inline = find_inline_data(url, what="image")
    if inline is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": inline.media_type, "data": inline.data}


def _encode_file(part: FilePart) -> JSONObject:
    if not part.url:
        raise _unsupported_content("a file that lies at another provider")
    inline = find_inline_data(part.url, what="file")
    if inline is not None and inline.media_type.startswith("image/"):
        return {"type": "image", "source": _image_source(part.url)}
    title = {"title": part.filename} if part.filename else {}
    return {"type": "document", "source": _document_source(part.url, inline), **title, **own_fields(part.extra, FORMAT)}


def _document_source(url: str, inline: InlineData | None) -> JSONObject:
    if inline is None:
        return {"type": "url", "url": url}
    if inline.media_type == "application/pdf":
        return {"type": "base64", "media_type": inline.media_type, "data": inline.data}
    if not inline.media_type.startswith("text/"):
        raise _unsupported_content("files other than PDF and text")
    try:
        text = base64.b64decode(inline.data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise RequestRejectedError("A text file must be base64 of UTF-8.", param="messages") from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _encode_result(result: ToolResultPart) -> JSONObject:
    blocks = [block for part in result.parts if (block := _encode_user_part(part)) is not None]
    wire: JSONObject = {"type": "tool_result", "tool_use_id": _plain_id(result.call_id)}
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        wire["content"] = blocks[0]["text"]
    elif blocks:
        wire["content"] = blocks
    if result.is_error:
        wire["is_error"] = True
    return {**wire, **own_fields(result.extra, FORMAT)}


def _plain_id(id_: str) -> str:
    """Return a call's id in the letters that are taken; ids that differ stay different."""
    plain = _FOREIGN_ID_MARK.sub("_", id_)
    return plain if plain == id_ and id_ else f"{plain}_{sha256(id_.encode()).hexdigest()[:8]}"


def _arguments_object(call: ToolCallPart) -> JSONObject:
    arguments = _find_object(call.arguments or "{}")
    if arguments is None:
        raise _unsupported_content("a tool call whose arguments are no JSON object")
    return arguments


def _find_object(text: str) -> JSONObject | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def without_refused(call: EncodedRequest, error: ProviderError) -> EncodedRequest | None:
    """Return the request to send once more, without the sampling parameters that a refusal names, else None.

    The model list does not tell which models take them.
    """
    if not isinstance(error, RequestRejectedError):
        return None
    given = [name for name in SAMPLING_PARAMS if name in call.body]
    if EITHER_MESSAGE.search(error.message):
        given = [name for name in given if name == "top_p"]
    elif not UNSAMPLED_MESSAGE.search(error.message):
        return None
    if not given:
        return None
    body = {key: value for key, value in call.body.items() if key not in given}
    return EncodedRequest(body, tuple(sorted({*call.dropped_params, *given})))


# Requests, as callers send them


def decode_request(body: JSONObject) -> ChatRequest:
    """Translate a caller's body.

    Shape: `extra` is there even when empty: it tells that the request came in this format, in which it goes out as it
    came.
    Errors: BadRequestError with the field's path.
    """
    check_body(MESSAGES_BODY, body)
    choice = object_at(body, "tool_choice")
    extra = {key: value for key, value in body.items() if key not in _REQUEST_KEYS and value is not None}
    reasoning = _decode_reasoning(body, extra)
    metadata = object_at(body, "metadata")
    if rest := {key: value for key, value in metadata.items() if key != "user_id"}:
        extra["metadata"] = rest
    return ChatRequest(
        messages=tuple(_decode_messages(body)),
        model_name=body.get("model") or "",
        sampling=_decode_sampling(body),
        tools=tuple([_decode_tool(tool) for tool in objects_at(body, "tools")]),
        tool_choice=ToolChoice(TOOL_MODE_OF_TYPE[choice["type"]], choice.get("name")) if choice else None,
        parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        output_format=_decode_output_format(body, extra),
        reasoning=reasoning,
        user=metadata.get("user_id"),
        is_stream=body.get("stream") or False,
        extra=Passthrough(FORMAT, extra),
    )


def _decode_sampling(body: JSONObject) -> Sampling:
    stops = body.get("stop_sequences")
    return Sampling(
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        top_k=body.get("top_k"),
        max_tokens=body.get("max_tokens"),
        stop=tuple(stops) if stops else None,
    )


def _decode_reasoning(body: JSONObject, extra: JSONObject) -> Reasoning | None:
    """Return what other formats can say of thinking; what they cannot is added to `extra`."""
    config = object_at(body, "thinking")
    effort = object_at(body, "output_config").get("effort")
    budget_tokens = config.get("budget_tokens") if config.get("type") == "enabled" else None
    if config.get("type") == "disabled":
        if effort is not None:
            extra["output_config"] = {"effort": effort}
        effort = "none"
    if config and config not in ({"type": "disabled"}, {"type": "enabled", "budget_tokens": budget_tokens}):
        extra["thinking"] = config
    return Reasoning(effort, budget_tokens) if effort is not None or budget_tokens is not None else None


def _decode_output_format(body: JSONObject, extra: JSONObject) -> OutputFormat | None:
    config = object_at(body, "output_config")
    form = object_at(config, "format")
    rest = {key: value for key, value in config.items() if key not in ("effort", "format") and value is not None}
    if rest:
        extra["output_config"] = {**extra.get("output_config", {}), **rest}
    return OutputFormat("json_schema", form["schema"]) if form else None


def _decode_tool(wire: JSONObject) -> Tool | OpaqueTool:
    if wire.get("type") not in (None, "custom"):
        return OpaqueTool(FORMAT, wire)
    return Tool(
        wire["name"],
        wire.get("description"),
        wire["input_schema"],
        wire.get("strict"),
        _rest_of(wire, "type", "name", "description", "input_schema", "strict"),
    )


def _rest_of(wire: JSONObject, *known: str) -> Passthrough | None:
    """Return what an object says beside the fields known."""
    rest = {key: value for key, value in wire.items() if key not in known and value is not None}
    return Passthrough(FORMAT, rest) if rest else None


def _decode_messages(body: JSONObject) -> Iterator[ChatMessage]:
    """Yield the messages; each result of a tool is one of its own."""
    system = body.get("system")
    if system:
        yield ChatMessage("system", system if isinstance(system, str) else [_decode_block(block) for block in system])
    for wire in body["messages"]:
        role, content = wire["role"], wire["content"]
        extra = _rest_of(wire, "role", "content")
        if isinstance(content, str):
            yield ChatMessage(role, content, extra=extra)
        else:
            yield from _decode_blocks(role, content, extra)


def _decode_blocks(role: Role, blocks: Iterable[JSONObject], extra: Passthrough | None) -> Iterator[ChatMessage]:
    parts: list[Part] = []
    has_results = False
    for block in blocks:
        part = _decode_block(block)
        if not isinstance(part, ToolResultPart):
            parts.append(part)
            continue
        has_results = True
        if parts:
            yield ChatMessage(role, parts, extra=extra)
            parts = []
        yield ChatMessage("tool", [part])
    if parts or not has_results:
        yield ChatMessage(role, parts, extra=extra)


# Blocks, which are the same in requests and answers


def _decode_block(block: JSONObject) -> Part:
    """Translate a block, one that nobody else knows as it is.

    Errors: MalformedReplyError, in an answer; requests have been checked.
    """
    match block.get("type"):
        case "text":
            return TextPart(find_text(block, "text") or "", extra=_rest_of(block, "type", "text"))
        case "image" | "document":
            return _decode_source(block)
        case "thinking":
            return ReasoningPart(find_text(block, "thinking") or "", _signature(block.get("signature")))
        case "redacted_thinking":
            return ReasoningPart("", _signature(block.get("data")), is_redacted=True)
        case "tool_use":
            return _decode_call(block)
        case "tool_result" if isinstance(block.get("tool_use_id"), str):
            return _decode_result(block)
        case _:
            return OpaquePart(FORMAT, block)


def _signature(value: Any) -> Signature | None:
    return Signature(FORMAT, value) if value and isinstance(value, str) else None


def _decode_call(block: JSONObject) -> ToolCallPart:
    arguments = orjson.dumps(object_at(block, "input")).decode()
    extra = _rest_of(block, "type", "id", "name", "input")
    return ToolCallPart(text_at(block, "id"), text_at(block, "name"), arguments, extra=extra)


def _decode_result(block: JSONObject) -> ToolResultPart:
    content = block.get("content")
    if isinstance(content, str):
        parts: tuple[Part, ...] = (TextPart(content),)
    else:
        parts = tuple([_decode_block(inner) for inner in content or ()])
    extra = _rest_of(block, "type", "tool_use_id", "content", "is_error")
    return ToolResultPart(block["tool_use_id"], parts, block.get("is_error") is True, extra)


def _decode_source(block: JSONObject) -> Part:
    """Translate an image or a document; one that lies at Anthropic stays as it is."""
    source = object_at(block, "source")
    url = _url_of(source)
    if url is None:
        return OpaquePart(FORMAT, block)
    if block["type"] == "image":
        return ImagePart(url, extra=_rest_of(block, "type", "source"))
    return FilePart(url, text_or_none(block.get("title")), extra=_rest_of(block, "type", "source", "title"))


def _url_of(source: JSONObject) -> str | None:
    match source:
        case {"type": "url", "url": str(url)}:
            return url
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return InlineData(media_type, data).url
        case {"type": "text", "data": str(text)}:
            return InlineData("text/plain", base64.b64encode(text.encode()).decode()).url
        case _:
            return None


# Answers


def decode_reply(body: JSONObject) -> ChatResponse:
    """Translate a whole message.

    Errors: MalformedReplyError, UpstreamError for an answer broken off, or the error in the body.
    """
    if body.get("type") == "error" or body.get("error"):
        raise decode_error(200, body)
    if not isinstance(body.get("content"), list):
        raise MalformedReplyError("The provider's answer lacks `content`.")
    parts = tuple([part for block in objects_at(body, "content") if _says(part := _decode_block(block))])
    native = text_or_none(body.get("stop_reason"))
    return ChatResponse(
        choices=(
            Choice(
                parts=parts,
                finish_reason=_finish_reason(native, has_calls=_has_calls(parts)),
                native_finish_reason=native,
                extra=_stop_details(body),
            ),
        ),
        model_name=text_or_none(body.get("model")) or "",
        usage=_find_usage(object_or_empty(body.get("usage"))),
        upstream_id=text_or_none(body.get("id")),
        extra=_rest_of(body, *_REPLY_KEYS),
    )


def _says(part: Part) -> bool:
    """Tell empty texts, and thoughts of which there is not even a signature, from what answers hold."""
    if isinstance(part, ReasoningPart):
        return bool(part.text) or part.signature is not None
    return not isinstance(part, TextPart) or bool(part.text)


def _has_calls(parts: Iterable[Part]) -> bool:
    return any(isinstance(part, ToolCallPart) for part in parts)


def _finish_reason(native: str | None, *, has_calls: bool) -> FinishReason:
    if native in FAILED_STOP_REASONS:
        raise UpstreamError(f"The provider broke off the answer: {native}.", code="provider_error")
    if has_calls and native in (None, "end_turn"):
        return "tool_calls"
    return FINISH_REASONS.get(native or "", "stop")


def _stop_details(wire: JSONObject) -> Passthrough | None:
    fields = {key: wire[key] for key in _STOP_KEYS if wire.get(key) is not None}
    return Passthrough(FORMAT, fields) if fields else None


def _find_usage(usage: JSONObject) -> Usage | None:
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


class _OpenBlock:
    """A block of which more may come. Shape: `place` is its part's, -1 until that begins."""

    __slots__ = ("index", "input_pieces", "kind", "place", "wire")

    def __init__(self, index: int, kind: str, wire: JSONObject) -> None:
        self.index = index
        self.kind = kind
        self.wire = wire
        self.place = -1
        self.input_pieces: list[str] = []


class AnthropicStreamDecoder(StreamDecoder):
    """Translates the events of one message, whose end is `message_stop`."""

    def __init__(self) -> None:
        self._usage: JSONObject = {}
        self._blocks: dict[int, _OpenBlock] = {}
        self._text_places: dict[int, int] = {}
        self._parts = 0
        self._has_calls = self._is_ended = False

    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        try:  # what most frames are: more of a text
            if frame["type"] == "content_block_delta":
                delta = frame["delta"]
                if delta["type"] == "text_delta" and type(text := delta["text"]) is str and text:
                    return (PartDelta(0, self._text_places[frame["index"]], text),)
        except (KeyError, TypeError):
            pass
        return list(self._decode(frame))

    def end_mark(self) -> Sequence[Delta]:
        return list(self._end())

    def _decode(self, frame: JSONObject) -> Iterator[Delta]:
        match frame.get("type"):
            case "message_start":
                yield from self._start(object_at(frame, "message"))
            case "content_block_start":
                yield from self._start_block(_index(frame), object_at(frame, "content_block"))
            case "content_block_delta":
                yield from self._add(_index(frame), object_at(frame, "delta"))
            case "content_block_stop":
                yield from self._stop_block(_index(frame))
            case "message_delta":
                yield from self._finish(frame)
            case "message_stop":
                yield from self._end()
            case _ if frame.get("error"):
                raise decode_error(200, frame)

    def _start(self, message: JSONObject) -> Iterator[Delta]:
        extra = _rest_of(message, *_REPLY_KEYS)
        yield ReplyStarted(text_or_none(message.get("model")), text_or_none(message.get("id")), extra)
        yield from self._tell_usage(message)

    def _start_block(self, index: int, wire: JSONObject) -> Iterator[Delta]:
        yield from self._stop_block(index)
        kind = text_or_none(wire.get("type")) or ""
        block = self._blocks[index] = _OpenBlock(index, kind, wire)
        if kind == "tool_use":
            self._has_calls = True
            extra = _rest_of(wire, "type", "id", "name", "input")
            yield self._begin(block, ToolCallPart(text_at(wire, "id"), text_at(wire, "name"), "", extra=extra))
        elif kind == "redacted_thinking":
            yield self._begin(block, _decode_block(wire))
        elif kind == "text":
            yield from self._add_text(block, TextPart(""), wire.get("text"))
            citations = wire.get("citations")
            for citation in citations if isinstance(citations, list) else ():
                yield from self._add_citation(block, citation)
        elif kind == "thinking":
            yield from self._add_text(block, ReasoningPart(""), wire.get("thinking"))
            yield from self._sign(block, wire.get("signature"))

    def _begin(self, block: _OpenBlock, part: Part) -> PartStarted:
        block.place = self._parts
        self._parts += 1
        if isinstance(part, TextPart):
            self._text_places[block.index] = block.place
        return PartStarted(0, block.place, part)

    def _add(self, index: int, delta: JSONObject) -> Iterator[Delta]:
        block = self._blocks.get(index)
        if block is None:  # some servers begin texts without saying so
            block = self._blocks[index] = _OpenBlock(index, "", {})
        match delta.get("type"):
            case "text_delta":
                yield from self._add_text(block, TextPart(""), delta.get("text"))
            case "thinking_delta":
                yield from self._add_text(block, ReasoningPart(""), delta.get("thinking"))
            case "signature_delta":
                yield from self._sign(block, delta.get("signature"))
            case "citations_delta":
                yield from self._add_citation(block, delta.get("citation"))
            case "input_json_delta":
                yield from self._add_input(block, find_text(delta, "partial_json") or "")
            case _:
                block.wire = _grown(block.wire, delta)

    def _add_text(self, block: _OpenBlock, part: Part, text: Any) -> Iterator[Delta]:
        if text is not None and not isinstance(text, str):
            raise MalformedReplyError("The provider's text is not text.")
        if not text:
            return
        if block.place < 0:
            yield self._begin(block, part)
        yield PartDelta(0, block.place, text)

    def _sign(self, block: _OpenBlock, value: Any) -> Iterator[Delta]:
        if (signature := _signature(value)) is None:
            return
        if block.place < 0:
            yield self._begin(block, ReasoningPart(""))
        yield PartSigned(0, block.place, signature)

    def _add_citation(self, block: _OpenBlock, citation: Any) -> Iterator[Delta]:
        """Add what a text cites, which may come before the text does."""
        if not isinstance(citation, dict):
            return
        if block.place < 0:
            yield self._begin(block, TextPart(""))
        yield ExtraDelta(0, Passthrough(FORMAT, {"citations": [citation]}), block.place)

    def _add_input(self, block: _OpenBlock, piece: str) -> Iterator[Delta]:
        if not block.kind:
            raise MalformedReplyError("The provider sent the arguments of a call that it did not name.")
        if piece:
            block.input_pieces.append(piece)
            if block.kind == "tool_use":
                yield PartDelta(0, block.place, piece)

    def _stop_block(self, index: int) -> Iterator[Delta]:
        """Complete a block: a call may have had no arguments, and what only this format knows goes out when whole."""
        self._text_places.pop(index, None)
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.kind == "tool_use" and not block.input_pieces:
            yield PartDelta(0, block.place, orjson.dumps(object_at(block.wire, "input")).decode())
        elif block.place < 0 and block.kind not in ("", "text", "thinking"):
            if (given := _find_object("".join(block.input_pieces))) is not None:
                block.wire = {**block.wire, "input": given}
            yield self._begin(block, _decode_block(block.wire))

    def _finish(self, frame: JSONObject) -> Iterator[Delta]:
        delta = object_at(frame, "delta")
        if details := _stop_details(delta):
            yield ExtraDelta(0, details)
        for extra in (_rest_of(delta, "stop_reason", *_STOP_KEYS), _rest_of(frame, "type", "delta", "usage")):
            if extra:
                yield ExtraDelta(None, extra)
        if native := text_or_none(delta.get("stop_reason")):
            yield from self._finish_with(native)
        yield from self._tell_usage(frame)

    def _finish_with(self, native: str | None) -> Iterator[Delta]:
        for index in list(self._blocks):
            yield from self._stop_block(index)
        reason = _finish_reason(native, has_calls=self._has_calls)
        self._is_ended = True
        yield ChoiceFinished(0, reason, native)

    def _end(self) -> Iterator[Delta]:
        """Take the mark of the end, which counts also where no reason came before it."""
        if not self._is_ended and self._parts + len(self._blocks):
            yield from self._finish_with(None)
        self.is_finished = self._is_ended

    def _tell_usage(self, frame: JSONObject) -> Iterator[Delta]:
        """Tell the total so far: counts are cumulative; those that an event leaves out, or has as 0, stand."""
        usage = object_or_empty(frame.get("usage"))
        if not usage:
            return
        self._usage.update((key, value) for key, value in usage.items() if value or key not in self._usage)
        if (total := _find_usage(self._usage)) is not None:
            yield UsageTold(total)


def _index(frame: JSONObject) -> int:
    return count_or_none(frame.get("index")) or 0


def _grown(wire: JSONObject, delta: JSONObject) -> JSONObject:
    """Return a block with what a delta of an unknown kind adds: texts grow, all else is replaced."""
    grown = dict(wire)
    for key, value in delta.items():
        if key != "type":
            here = grown.get(key)
            grown[key] = here + value if isinstance(here, str) and isinstance(value, str) else value
    return grown


# Answers, as the hub sends them


def encode_reply(response: ChatResponse, head: ReplyHead) -> JSONObject:
    """Render the first choice: the format has no more."""
    choice = response.choices[0] if response.choices else Choice()
    content = [block for part in choice.parts if (block := _encode_answer_part(part)) is not None]
    return {
        **own_fields(response.extra, FORMAT),
        "id": head.id,
        "type": "message",
        "role": "assistant",
        "model": response.model_name or head.model_name,
        "content": content,
        **_encode_stop(choice),
        "usage": _encode_usage(response.usage),
    }


def _encode_stop(choice: Choice) -> JSONObject:
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


def _encode_usage(usage: Usage | None) -> JSONObject:
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


def _encode_answer_part(part: Part) -> JSONObject | None:
    """Return the block of a part, None for what clients of this format cannot be shown."""
    match part:
        case TextPart() | RefusalPart():
            return {"type": "text", "text": part.text, **own_fields(part.extra, FORMAT)} if part.text else None
        case ReasoningPart():
            return _encode_thought(part)
        case ToolCallPart():
            given = _find_object(part.arguments or "{}")
            return _call_block(part, {"INVALID_JSON": part.arguments} if given is None else given)
        case ImagePart():
            return {"type": "image", "source": _image_source(part.url), **own_fields(part.extra, FORMAT)}
        case FilePart() if part.url:
            return _encode_file(part)
        case OpaquePart() if part.format is FORMAT:
            return dict(part.wire)
        case _:
            return None


def _encode_thought(part: ReasoningPart) -> JSONObject | None:
    """Return a thought; an empty signature tells, when it comes back, that it was another provider's."""
    own = _encode_own_thought(part)
    if own is None and part.text:
        return {"type": "thinking", "thinking": part.text, "signature": ""}
    return own


def _call_block(part: ToolCallPart, given: JSONObject) -> JSONObject:
    return {"type": "tool_use", "id": part.id, "name": part.name, "input": given, **own_fields(part.extra, FORMAT)}


class AnthropicStreamEncoder(StreamEncoder):
    """Renders a message block after block: none begins before there is something in it, or before the last is closed.

    What comes of a part while the call before it is not whole waits until it is.
    """

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._model_name = head.model_name
        self._extra: Mapping[str, Any] = {}
        self._usage: Usage | None = None
        self._is_started = False
        self._index = -1
        self._open: int | None = None
        """The part whose block is open."""
        self._open_call: list[str] | None = None
        """The arguments of the open call; None where another block is open."""
        self._text_head = _TEXT_TAIL
        self._begun: dict[int, Part] = {}
        """The parts that have begun and have no block yet."""
        self._waiting: list[PartStarted | PartDelta | PartSigned | ExtraDelta] = []

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        frames: list[bytes] = []
        for delta in deltas:
            if type(delta) is PartDelta and delta.part == self._open and self._open_call is None:
                if delta.choice == 0:
                    frames.append(self._text_head + dump_json(delta.text) + _TEXT_TAIL)
            else:
                self._encode(delta, frames)
        if not self._is_started:
            self._start(frames)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def end(self, response: ChatResponse) -> bytes:
        frames: list[bytes] = []
        self._start(frames)
        self._close(frames)
        waiting, self._waiting = self._waiting, []
        for delta in sorted(waiting, key=lambda delta: delta.part or 0):
            self._take(delta, frames, is_last=True)
        self._close(frames)
        extra = dict(own_fields(response.extra, FORMAT))
        stop = _encode_stop(response.choices[0] if response.choices else Choice())
        if "container" in extra:
            stop["container"] = extra.pop("container")
        usage = _encode_usage(response.usage)
        frames.append(_event({**extra, "type": "message_delta", "delta": stop, "usage": usage}))
        frames.append(_event({"type": "message_stop"}))
        return b"".join(frames)

    def _encode(self, delta: Delta, frames: list[bytes]) -> None:
        match delta:
            case ReplyStarted():
                self._model_name = delta.model_name or self._model_name
                self._extra = {**self._extra, **own_fields(delta.extra, FORMAT)}
            case UsageTold():
                self._usage = delta.usage
            case PartStarted() | PartDelta() | PartSigned() if delta.choice == 0:
                self._start(frames)
                self._take(delta, frames)
            case ExtraDelta(choice=0, part=int()):
                self._start(frames)
                self._take(delta, frames)

    def _start(self, frames: list[bytes]) -> None:
        if self._is_started:
            return
        self._is_started = True
        head = replace(self._head, model_name=self._model_name)
        message = encode_reply(ChatResponse(choices=(Choice(finish_reason=None),), usage=self._usage), head)
        frames.append(_event({"type": "message_start", "message": {**self._extra, **message}}))

    def _take(
        self, delta: PartStarted | PartDelta | PartSigned | ExtraDelta, frames: list[bytes], *, is_last: bool = False
    ) -> None:
        """Render what a part gets, or let it wait."""
        if delta.part == self._open:
            self._add(delta, frames)
            if self._waiting and self._is_call_whole():
                waiting, self._waiting = self._waiting, []
                for one in waiting:
                    self._take(one, frames)
        elif not is_last and (self._waiting or not self._is_call_whole()):
            self._waiting.append(delta)
        elif isinstance(delta, PartStarted):
            self._begun[delta.part] = delta.value
            if not isinstance(delta.value, TextPart | ReasoningPart | RefusalPart) or _is_whole(delta.value):
                self._open_block(delta.part, frames)
        elif delta.part in self._begun:
            self._open_block(delta.part, frames)
            self._add(delta, frames)

    def _is_call_whole(self) -> bool:
        return self._open_call is None or _find_object("".join(self._open_call)) is not None

    def _open_block(self, place: int, frames: list[bytes]) -> None:
        part = self._begun.pop(place)
        block = _block_at_start(part)
        if block is None:
            return
        self._close(frames)
        self._index += 1
        self._open = place
        self._open_call = [] if isinstance(part, ToolCallPart) else None
        kind = ("thinking", "thinking") if isinstance(part, ReasoningPart) else ("text", "text")
        self._text_head = _delta_head(self._index, *kind)
        frames.append(_event({"type": "content_block_start", "index": self._index, "content_block": block}))
        if isinstance(part, ToolCallPart) and part.arguments:
            self._add(PartDelta(0, place, part.arguments), frames)
        elif isinstance(part, TextPart | RefusalPart | ReasoningPart) and part.text and not _is_redacted(part):
            frames.append(self._text_head + dump_json(part.text) + _TEXT_TAIL)
        if isinstance(part, ReasoningPart) and part.signature is not None and not part.is_redacted:
            self._add(PartSigned(0, place, part.signature), frames)

    def _add(self, delta: PartStarted | PartDelta | PartSigned | ExtraDelta, frames: list[bytes]) -> None:
        match delta:
            case PartDelta() if self._open_call is not None:
                self._open_call.append(delta.text)
                frames.append(self._delta({"type": "input_json_delta", "partial_json": delta.text}))
            case PartDelta():
                frames.append(self._text_head + dump_json(delta.text) + _TEXT_TAIL)
            case PartSigned(signature=signature) if signature.format is FORMAT:
                frames.append(self._delta({"type": "signature_delta", "signature": signature.value}))
            case ExtraDelta():
                citations = own_fields(delta.extra, FORMAT).get("citations") or ()
                frames += [self._delta({"type": "citations_delta", "citation": one}) for one in citations]

    def _delta(self, delta: JSONObject) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self, frames: list[bytes]) -> None:
        if self._open is not None:
            frames.append(_event({"type": "content_block_stop", "index": self._index}))
            self._open = self._open_call = None


_TEXT_TAIL = b"}}\n\n"


def _delta_head(index: int, kind: str, field: str) -> bytes:
    """Return what stands before the JSON text in a frame that adds to a text."""
    data = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}_delta","{field}":'
    return f"event: content_block_delta\ndata: {data}".encode()


def _event(data: JSONObject) -> bytes:
    return event_frame(data, event=data["type"])


def _is_whole(part: Part) -> bool:
    """Tell whether a text or a thought says something from the start."""
    return isinstance(part, TextPart | ReasoningPart | RefusalPart) and (bool(part.text) or _is_redacted(part))


def _is_redacted(part: Part) -> bool:
    return isinstance(part, ReasoningPart) and part.is_redacted


def _block_at_start(part: Part) -> JSONObject | None:
    """Return a block as it begins: texts and arguments are still to come."""
    match part:
        case TextPart() | RefusalPart():
            return {"type": "text", "text": ""}
        case ReasoningPart() if not part.is_redacted:
            return {"type": "thinking", "thinking": "", "signature": ""}
        case ToolCallPart():
            return _call_block(part, {})
        case _:
            return _encode_answer_part(part)


# Refusals


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
