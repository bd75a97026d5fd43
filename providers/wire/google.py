"""Google's Gemini API, `generateContent`.

Source: https://ai.google.dev/api/generate-content and /gemini-api/docs/thought-signatures, read 2026-11.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, takewhile
from typing import Any, Literal

import orjson

from providers.bounds import check_choices
from providers.errors import (
    ConfigurationError,
    ContentBlockedError,
    ContextTooLongError,
    CredentialRejectedError,
    MalformedReplyError,
    ProviderError,
    QuotaExhaustedError,
    RequestRejectedError,
    UnsupportedRequestError,
    UpstreamError,
)
from providers.types import (
    AudioPart,
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
from providers.wire.codec import EncodedRequest, ReplyHead, StreamDecoder, StreamEncoder
from providers.wire.data_urls import InlineData, find_inline_data, find_media_type
from providers.wire.efforts import BUDGET_TOKENS_OF_EFFORT, effort_of_budget
from providers.wire.error_mapping import MAX_RETRY_AFTER_S, error_of_status, message_of
from providers.wire.foreign import check_foreign_params, foreign_names, own_fields, unsupported
from providers.wire.json_access import (
    MAX_COUNT,
    count_or_none,
    find_text,
    list_at,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)
from providers.wire.rendering import event_frame

Thinking = Literal["level", "budget"]

FORMAT = WireFormat.GOOGLE
TARGET = "providers of type google"
FOREIGN_SIGNATURE = "skip_thought_signature_validator"
"""Stands in for the signature of a call that another provider's model made: a call without any is refused."""

SAMPLING_NAMES: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "max_tokens": "maxOutputTokens",
    "stop": "stopSequences",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
LEVEL_OF_EFFORT: Mapping[Effort, str] = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
EFFORT_OF_LEVEL: Mapping[str, Effort] = {
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
}
MODE_OF_TOOL_CHOICE: Mapping[ToolMode, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
TOOL_CHOICE_OF_MODE: Mapping[str, ToolMode] = {
    "AUTO": "auto",
    "VALIDATED": "auto",
    "NONE": "none",
    "ANY": "required",
}

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

NATIVE_FINISH_REASONS: Mapping[FinishReason, str] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
FAILED_FINISH = re.compile(r"MALFORMED_\w+|UNEXPECTED_TOOL_CALL|TOO_MANY_TOOL_CALLS|MISSING_THOUGHT_SIGNATURE")
FAILED_FINISH_IF_EMPTY = frozenset({"OTHER", "LANGUAGE", "NO_IMAGE", "FINISH_REASON_UNSPECIFIED"})
ACCOUNT_LIMITED_FINISH = "PUP_LIMITED_DISABLED"

CONTEXT_MESSAGE = re.compile(r"input token count.* exceeds the maximum number of tokens")
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")

_REQUEST_KEYS = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"})
_CONFIG_KEYS = frozenset({*SAMPLING_NAMES.values(), "responseMimeType", "responseJsonSchema", "thinkingConfig"})
_SIGNATURE_KEY = "thoughtSignature"
_PART_KEYS = frozenset({"text", "thought", "functionCall", "functionResponse", "inlineData", "fileData"})
_UNSAID = (ReasoningPart, OpaquePart)


def encode_request(
    request: ChatRequest,
    *,
    stream: bool,  # noqa: ARG001  the address says it, not the body
    thinking: Thinking | None = None,
) -> EncodedRequest:
    """Translate a request; the model's name stands in the address.

    Shape: `thinking` is how the model is told how much to think: a level from 3 on, a budget in 2.5, None where it
    cannot be told.
    Errors: RequestRejectedError, UnsupportedRequestError for what cannot be said.
    """
    check_foreign_params(request, FORMAT, target=TARGET)
    instructions = list(takewhile(_is_instruction, request.messages))
    contents = _encode_contents(request.messages[len(instructions) :], is_signed=thinking != "budget")
    if not contents:
        raise RequestRejectedError(f"{TARGET.capitalize()} need at least one message of the user.", param="messages")
    body: JSONObject = {**own_fields(request.extra, FORMAT), "contents": contents}
    if texts := [text for message in instructions if (text := _instruction_text(message)).strip()]:
        body["systemInstruction"] = {"parts": [{"text": text} for text in texts]}
    if request.tools:
        body |= _encode_tools(request)
    if config := _encode_config(request, thinking):
        body["generationConfig"] = {**object_or_empty(body.get("generationConfig")), **config}
    return EncodedRequest(body, tuple(sorted(set(_dropped_params(request, thinking)))))


def _dropped_params(request: ChatRequest, thinking: Thinking | None) -> Iterator[str]:
    yield from (name for name in ("parallel_tool_calls", "user") if getattr(request, name) is not None)
    if request.reasoning is not None and thinking is None:
        yield "reasoning_effort"
    if request.tool_choice is not None and not request.tools:
        yield "tool_choice"
    if any(isinstance(tool, Tool) and tool.strict for tool in request.tools):
        yield "tools.strict"
    if any(isinstance(part, FilePart) and part.filename for message in request.messages for part in message.parts):
        yield "messages.filename"
    yield from foreign_names(request, FORMAT)


def _is_instruction(message: ChatMessage) -> bool:
    return message.role in ("system", "developer")


def _instruction_text(message: ChatMessage) -> str:
    for part in message.parts:
        if not isinstance(part, TextPart):
            raise _unsupported_content(f"content other than text in a message of the role `{message.role}`")
    return message.text


def _unsupported_content(what: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"The hub cannot send {what} to {TARGET}.", param="messages")


def _encode_config(request: ChatRequest, thinking: Thinking | None) -> JSONObject:
    config: JSONObject = {SAMPLING_NAMES[name]: value for name, value in request.sampling.given().items()}
    if "stopSequences" in config:
        config["stopSequences"] = list(config["stopSequences"])
    if config.get("candidateCount") == 1:  # models that give one answer alone refuse even this
        del config["candidateCount"]
    if request.output_format is not None and request.output_format.kind != "text":
        config["responseMimeType"] = "application/json"
        if request.output_format.schema is not None:
            config["responseJsonSchema"] = request.output_format.schema
    if request.reasoning is not None and thinking is not None:
        config |= _encode_thinking(request.reasoning, thinking)
    return config


def _encode_thinking(reasoning: Reasoning, thinking: Thinking) -> JSONObject:
    effort, budget_tokens = reasoning.effort, reasoning.budget_tokens
    if thinking == "budget":
        if budget_tokens is None and effort is not None:
            budget_tokens = BUDGET_TOKENS_OF_EFFORT[effort]
        told: JSONObject = {} if budget_tokens is None else {"thinkingBudget": budget_tokens}
    else:
        if effort is None and budget_tokens is not None:
            effort = effort_of_budget(budget_tokens)
        told = {} if effort is None else {"thinkingLevel": LEVEL_OF_EFFORT[effort]}
    is_wanted = effort != "none" and budget_tokens != 0
    return {"thinkingConfig": {**told, "includeThoughts": is_wanted}}


def _encode_tools(request: ChatRequest) -> JSONObject:
    functions = [_encode_tool(tool) for tool in request.tools if isinstance(tool, Tool)]
    tools: list[JSONObject] = [{"functionDeclarations": functions}] if functions else []
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            if tool.format is not FORMAT:
                raise unsupported("tools", TARGET)
            tools.append(dict(tool.wire))
    if (choice := request.tool_choice) is None:
        return {"tools": tools}
    config: JSONObject = {"mode": MODE_OF_TOOL_CHOICE[choice.mode]}
    if choice.mode == "tool":
        config["allowedFunctionNames"] = [choice.name]
    return {"tools": tools, "toolConfig": {"functionCallingConfig": config}}


def _encode_tool(tool: Tool) -> JSONObject:
    declaration: JSONObject = {**own_fields(tool.extra, FORMAT), "name": tool.name}
    if tool.description is not None:
        declaration["description"] = tool.description
    if tool.parameters is not None:
        declaration["parametersJsonSchema"] = tool.parameters
    return declaration


def _encode_contents(messages: Iterable[ChatMessage], *, is_signed: bool) -> list[JSONObject]:
    """Join neighbouring messages of one side; the results of calls come first and alone after the model's turn.

    Errors: RequestRejectedError unless each call of a turn has its result.
    """
    contents: list[JSONObject] = []
    calls: list[ToolCallPart] = []
    for is_model, group in groupby(messages, lambda message: message.role == "assistant"):
        turn = list(group)
        if is_model:
            parts = [part for message in turn for part in message.parts]
            calls = [part for part in parts if isinstance(part, ToolCallPart)]
            _add_content(contents, "model", _encode_model_turn(parts, is_signed=is_signed))
        else:
            results = [part for message in turn for part in message.parts if isinstance(part, ToolResultPart)]
            _add_content(contents, "user", _encode_results(calls, results))
            _add_content(contents, "user", [part for message in turn for part in _encode_user_message(message)])
            calls = []
    _encode_results(calls, [])
    return contents


def _add_content(contents: list[JSONObject], role: str, parts: list[JSONObject]) -> None:
    """Add parts to the turn of their side, where one between said nothing; results stay alone."""
    if parts and contents and contents[-1]["role"] == role and "functionResponse" not in contents[-1]["parts"][0]:
        contents[-1]["parts"] += parts
    elif parts:
        contents.append({"role": role, "parts": parts})


def _encode_model_turn(parts: Iterable[Part], *, is_signed: bool) -> list[JSONObject]:
    """Translate a turn of the model; the first of its calls must be signed, by whomever."""
    wire = [encoded for part in parts if (encoded := _encode_part(part)) is not None]
    first_call = next((part for part in wire if "functionCall" in part), None)
    if is_signed and first_call is not None:
        first_call.setdefault(_SIGNATURE_KEY, FOREIGN_SIGNATURE)
    return wire


def _encode_user_message(message: ChatMessage) -> list[JSONObject]:
    if _is_instruction(message):
        text = _instruction_text(message)
        return [{"text": text}] if text.strip() else []
    parts = (part for part in message.parts if not isinstance(part, ToolResultPart))
    return [encoded for part in parts if (encoded := _encode_part(part)) is not None]


def _encode_results(calls: Iterable[ToolCallPart], results: Iterable[ToolResultPart]) -> list[JSONObject]:
    """Errors: RequestRejectedError unless the results are those of the calls."""
    asked, told = Counter(call.id for call in calls), Counter(result.call_id for result in results)
    for id_ in asked - told:
        raise RequestRejectedError(f"The result of the tool call `{id_}` is missing.", param="messages")
    for id_ in told - asked:
        raise RequestRejectedError(f"The turn before holds no tool call `{id_}`.", param="messages")
    names = {call.id: call.name for call in calls}
    return [_encode_result(result, names[result.call_id]) for result in results]


def _encode_result(result: ToolResultPart, name: str) -> JSONObject:
    """Translate a result; images and files stand beside its text and must lie within the request."""
    response: JSONObject = {
        "id": result.call_id,
        "name": name,
        "response": {"error" if result.is_error else "output": result.text},
    }
    others = [_encode_part(part) for part in result.parts if not isinstance(part, TextPart)]
    if files := [wire for wire in others if wire is not None]:
        if not all("inlineData" in wire for wire in files):
            raise _unsupported_content("the result of a tool with other than text and inline files")
        response["parts"] = files
    return {"functionResponse": {**response, **own_fields(result.extra, FORMAT)}}


def _encode_part(part: Part) -> JSONObject | None:
    """Return a part as the API takes it, None for what says nothing to it: blank text, thoughts of other models.

    Errors: UnsupportedRequestError, RequestRejectedError.
    """
    match part:
        case TextPart() | RefusalPart():
            wire = _signed({"text": part.text}, part)
            return wire if part.text.strip() or _SIGNATURE_KEY in wire else None
        case ReasoningPart():
            wire = _signed({"thought": True, "text": part.text}, part)
            return wire if _SIGNATURE_KEY in wire else None
        case ToolCallPart():
            call = {"id": part.id, "name": part.name, "args": _arguments_object(part)}
            return _signed({"functionCall": call}, part)
        case ImagePart() | FilePart() | AudioPart():
            return {**own_fields(part.extra, FORMAT), **_encode_file(part)}
        case OpaquePart() if part.format is FORMAT:
            return dict(part.wire)
        case _:
            raise _unsupported_content("content that only another format knows")


def _signed(wire: JSONObject, part: TextPart | RefusalPart | ReasoningPart | ToolCallPart) -> JSONObject:
    signature = None if isinstance(part, RefusalPart) else part.signature
    if signature is not None and signature.format is FORMAT:
        wire[_SIGNATURE_KEY] = signature.value
    return wire


def _arguments_object(call: ToolCallPart) -> JSONObject:
    try:
        arguments = orjson.loads(call.arguments or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise _unsupported_content("a tool call whose arguments are no JSON object")
    return arguments


def _encode_file(part: ImagePart | FilePart | AudioPart) -> JSONObject:
    if isinstance(part, AudioPart):
        return {"inlineData": {"mimeType": f"audio/{part.audio_format}", "data": part.data}}
    if not part.url:
        raise _unsupported_content("a file that lies at another provider")
    inline = find_inline_data(part.url, what="image" if isinstance(part, ImagePart) else "file")
    if inline is not None:
        return {"inlineData": {"mimeType": inline.media_type, "data": inline.data}}
    media_type = find_media_type(part.url)
    return {"fileData": {"fileUri": part.url} | ({"mimeType": media_type} if media_type else {})}


def decode_request(body: JSONObject) -> ChatRequest:
    """Translate what `encode_request` makes, and what else the API takes; the address tells model and streaming."""
    config = object_at(body, "generationConfig")
    rest = {key: value for key, value in body.items() if key not in _REQUEST_KEYS}
    if config_rest := {key: value for key, value in config.items() if key not in _CONFIG_KEYS}:
        rest["generationConfig"] = config_rest
    return ChatRequest(
        messages=tuple(_decode_messages(body)),
        sampling=_decode_sampling(config),
        tools=tuple(_decode_tools(body)),
        tool_choice=_decode_tool_choice(object_at(object_at(body, "toolConfig"), "functionCallingConfig")),
        output_format=_decode_output_format(config),
        reasoning=_decode_thinking(object_at(config, "thinkingConfig")),
        extra=Passthrough(FORMAT, rest) if rest else None,
    )


def _decode_sampling(config: JSONObject) -> Sampling:
    params = {name: config[wire] for name, wire in SAMPLING_NAMES.items() if config.get(wire) is not None}
    if "stop" in params:
        params["stop"] = tuple(params["stop"])
    return Sampling(**params)


def _decode_output_format(config: JSONObject) -> OutputFormat | None:
    if config.get("responseMimeType") != "application/json":
        return None
    schema = config.get("responseJsonSchema")
    return OutputFormat("json_object" if schema is None else "json_schema", schema)


def _decode_thinking(config: JSONObject) -> Reasoning | None:
    if not config:
        return None
    return Reasoning(EFFORT_OF_LEVEL.get(config.get("thinkingLevel", "")), config.get("thinkingBudget"))


def _decode_tools(body: JSONObject) -> Iterator[Tool | OpaqueTool]:
    for tool in objects_at(body, "tools"):
        if "functionDeclarations" not in tool:
            yield OpaqueTool(FORMAT, tool)
        for one in objects_at(tool, "functionDeclarations"):
            yield Tool(text_at(one, "name"), one.get("description"), one.get("parametersJsonSchema"))


def _decode_tool_choice(config: JSONObject) -> ToolChoice | None:
    if not config:
        return None
    names = list_at(config, "allowedFunctionNames")
    if len(names) == 1:
        return ToolChoice("tool", names[0])
    return ToolChoice(TOOL_CHOICE_OF_MODE[text_at(config, "mode")])


def _decode_messages(body: JSONObject) -> Iterator[ChatMessage]:
    for instruction in objects_at(object_at(body, "systemInstruction"), "parts"):
        yield ChatMessage("system", text_at(instruction, "text"))
    for content in objects_at(body, "contents"):
        parts: list[Part] = []
        for wire in objects_at(content, "parts"):
            if "functionResponse" in wire:
                yield ChatMessage("tool", [_decode_result(object_at(wire, "functionResponse"))])
            elif (part := _decode_part(wire, call_id=_function_name(wire))) is not None:
                parts.append(part)
        if parts:
            yield ChatMessage("assistant" if content.get("role") == "model" else "user", parts)


def _function_name(wire: JSONObject) -> str:
    """Return what stands for the id of a call that has none: its result has none either, but the name."""
    return text_or_none(object_or_empty(wire.get("functionCall")).get("name")) or ""


def _decode_result(wire: JSONObject) -> ToolResultPart:
    response = object_at(wire, "response")
    error = response.get("error")
    output = response.get("output", response) if error is None else error
    text = output if isinstance(output, str) else json.dumps(output)
    files = [_decode_file(part) for part in objects_at(wire, "parts")]
    parts: list[Part] = [TextPart(text)] if text or not files else []
    return ToolResultPart(text_or_none(wire.get("id")) or text_at(wire, "name"), (*parts, *files), error is not None)


def _decode_part(wire: JSONObject, *, call_id: str) -> Part | None:
    """Translate one part, None for one that says nothing.

    Shape: `call_id` is for a call that has none, as those of models up to 2.5.
    """
    value = text_or_none(wire.get(_SIGNATURE_KEY))
    signature = Signature(FORMAT, value) if value and value != FOREIGN_SIGNATURE else None
    is_thought = wire.get("thought") is True
    if "functionCall" in wire:
        call = object_at(wire, "functionCall")
        arguments = json.dumps(object_at(call, "args"))
        return ToolCallPart(text_or_none(call.get("id")) or call_id, text_at(call, "name"), arguments, signature)
    if "text" in wire:
        text = find_text(wire, "text") or ""
        if not text and signature is None:
            return None
        return ReasoningPart(text, signature) if is_thought else TextPart(text, signature)
    if is_thought or not ("inlineData" in wire or "fileData" in wire):  # images of a thought are drafts
        return OpaquePart(FORMAT, wire) if wire.keys() - {_SIGNATURE_KEY, "thought"} else None
    return _decode_file(wire)


def _decode_file(wire: JSONObject) -> ImagePart | FilePart | AudioPart:
    rest = {key: value for key, value in wire.items() if key not in _PART_KEYS}
    extra = Passthrough(FORMAT, rest) if rest else None
    if "inlineData" not in wire:
        file = object_at(wire, "fileData")
        url, media_type = text_at(file, "fileUri"), text_or_none(file.get("mimeType")) or ""
        return ImagePart(url, extra=extra) if media_type.startswith("image/") else FilePart(url, extra=extra)
    inline = object_at(wire, "inlineData")
    data, media_type = text_at(inline, "data"), text_at(inline, "mimeType")
    if media_type.startswith("image/"):
        return ImagePart(InlineData(media_type, data).url, extra=extra)
    if media_type.startswith("audio/"):
        audio_format = media_type.removeprefix("audio/")
        return AudioPart(data, "mp3" if audio_format == "mpeg" else audio_format, extra)
    return FilePart(InlineData(media_type, data).url, extra=extra)


def _find_joined(last: Part | None, part: Part) -> TextPart | ReasoningPart | None:
    """Return the last part with more of its text, None where another part begins: a signature ends one."""
    if isinstance(last, TextPart) and isinstance(part, TextPart) and last.signature is None:
        return TextPart(last.text + part.text, part.signature)
    if isinstance(last, ReasoningPart) and isinstance(part, ReasoningPart) and last.signature is None:
        return ReasoningPart(last.text + part.text, part.signature)
    return None


def decode_reply(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError, ContentBlockedError, or the error in the body.
    """
    _check_answered(body)
    candidates = objects_at(body, "candidates")
    if not candidates:
        raise MalformedReplyError("The provider's answer has no candidates.")
    upstream_id = text_or_none(body.get("responseId"))
    return ChatResponse(
        choices=tuple(_decode_candidate(one, index, upstream_id) for index, one in enumerate(candidates)),
        model_name=_model_name(body) or "",
        usage=_find_usage(_counts_in(body)),
        upstream_id=upstream_id,
    )


def _check_answered(body: JSONObject) -> None:
    """Raise what a body of the status 200 says instead of an answer.

    Errors: ContentBlockedError where the prompt was blocked; the error in the body.
    """
    if body.get("error") is not None:
        raise decode_error(200, body)
    reason = text_or_none(object_or_empty(body.get("promptFeedback")).get("blockReason"))
    if reason and not body.get("candidates"):
        raise ContentBlockedError(f"The provider blocked the prompt: {reason}.", code="content_filter")


def _model_name(body: JSONObject) -> str | None:
    name = text_or_none(body.get("modelVersion"))
    return name.removeprefix("models/") if name else None


def _decode_candidate(candidate: JSONObject, position: int, upstream_id: str | None) -> Choice:
    parts: list[Part] = []
    calls = 0
    for wire in objects_at(object_at(candidate, "content"), "parts"):
        part = _decode_part(wire, call_id=_synthetic_call_id(upstream_id, calls))
        if part is None:
            continue
        calls += isinstance(part, ToolCallPart)
        joined = _find_joined(parts[-1] if parts else None, part)
        if joined is None:
            parts.append(part)
        else:
            parts[-1] = joined
    native = text_at(candidate, "finishReason")
    index = count_or_none(candidate.get("index"))
    return Choice(
        index=position if index is None else index,
        parts=tuple(parts),
        finish_reason=_finish_reason(native, {type(part) for part in parts}),
        native_finish_reason=native,
        extra=_decode_logprobs(candidate),
    )


def _synthetic_call_id(upstream_id: str | None, number: int) -> str:
    return f"call_{upstream_id or 'google'}_{number}"


def _finish_reason(native: str, kinds: set[type[Part]]) -> FinishReason:
    """Return the canonical reason; Google has none for tool calls.

    Shape: `kinds` are the types of the answer's parts.
    Errors: UpstreamError or CredentialRejectedError where the reason is a failure; MalformedReplyError where the answer
    has parts, and the hub knows none of them.
    """
    is_empty = not kinds.difference(_UNSAID)
    if FAILED_FINISH.fullmatch(native) or (native in FAILED_FINISH_IF_EMPTY and is_empty):
        raise UpstreamError(f"The provider gave up on the answer: {native}.", code="provider_error")
    if native == ACCOUNT_LIMITED_FINISH:
        raise CredentialRejectedError("The provider has limited the account of the key.", code=native)
    if is_empty and OpaquePart in kinds:
        raise MalformedReplyError("The provider's answer is of a kind that the hub cannot translate.")
    if ToolCallPart in kinds and native == "STOP":
        return "tool_calls"
    return FINISH_REASONS.get(native, "stop")


def _counts_in(body: JSONObject) -> dict[str, int]:
    """Return the counts that a body tells, as far as they are whole numbers."""
    told = object_or_empty(body.get("usageMetadata"))
    return {name: count for name, count in told.items() if type(count) is int and 0 <= count <= MAX_COUNT}


def _find_usage(counts: Mapping[str, int]) -> Usage | None:
    """Return the usage where it is told; what is 0 is left out on the wire, and found from the total."""
    prompt_tokens = counts.get("promptTokenCount")
    if prompt_tokens is None:
        return None
    prompt_tokens += counts.get("toolUsePromptTokenCount", 0)
    thoughts = counts.get("thoughtsTokenCount")
    answer = counts.get("candidatesTokenCount")
    total = counts.get("totalTokenCount")
    if answer is None:
        if total is None and thoughts is None:
            return None
        answer = max(0, (total or 0) - prompt_tokens - (thoughts or 0))
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=answer + (thoughts or 0),
        cached_tokens=counts.get("cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def _decode_logprobs(candidate: JSONObject) -> Passthrough | None:
    """Return the log probabilities in the shape of OpenAI's chat completions, the only ones who can show them."""
    told = object_or_empty(candidate.get("logprobsResult"))
    chosen = objects_at(told, "chosenCandidates")
    if not chosen:
        return None
    tops = [objects_at(top, "candidates") for top in objects_at(told, "topCandidates")]
    tops += [[]] * (len(chosen) - len(tops))
    tokens = [
        _token(one) | {"top_logprobs": [_token(other) for other in top]} for one, top in zip(chosen, tops, strict=False)
    ]
    return Passthrough(WireFormat.OPENAI_CHAT, {"logprobs": {"content": tokens, "refusal": None}})


def _token(wire: JSONObject) -> JSONObject:
    token = text_or_none(wire.get("token")) or ""
    return {"token": token, "logprob": wire.get("logProbability"), "bytes": list(token.encode(errors="replace"))}


class _OpenCandidate:
    """What of one streamed choice must be known to go on; `open_kind` is the type of the text that may go on."""

    __slots__ = ("calls", "is_finished", "kinds", "open_kind", "parts")

    def __init__(self) -> None:
        self.parts = 0
        self.calls = 0
        self.open_kind: type[Part] | None = None
        self.kinds: set[type[Part]] = set()
        self.is_finished = False


class GoogleStreamDecoder(StreamDecoder):
    """Translates a stream of partial answers, whose end is a finish reason of every choice, not a mark of its own."""

    def __init__(self) -> None:
        self._choices: dict[int, _OpenCandidate] = {}
        self._counts: dict[str, int] = {}
        self._head: tuple[Any, Any] = (None, None)
        self._upstream_id: str | None = None

    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        delta = self._find_plain_text(frame)
        deltas: list[Delta] = list(self._decode(frame)) if delta is None else [delta]
        if "usageMetadata" in frame and not (counts := _counts_in(frame)).items() <= self._counts.items():
            self._counts.update(counts)
            if usage := _find_usage(self._counts):
                deltas.append(UsageTold(usage))
        return deltas

    def _find_plain_text(self, frame: JSONObject) -> PartDelta | None:
        """Return what most frames are: more text of the only choice, and nothing else but the usage."""
        try:
            (candidate,) = frame["candidates"]
            (wire,) = candidate["content"]["parts"]
            ((key, text),) = wire.items()
            choice = self._choices[candidate.get("index", 0)]
        except (KeyError, ValueError, TypeError):
            return None
        if key != "text" or type(text) is not str or not text or choice.open_kind is not TextPart:
            return None
        if "finishReason" in candidate or "logprobsResult" in candidate or "error" in frame:
            return None
        if (frame.get("modelVersion"), frame.get("responseId")) != self._head:
            return None
        return PartDelta(candidate.get("index", 0), choice.parts - 1, text)

    def _decode(self, frame: JSONObject) -> Iterator[Delta]:
        _check_answered(frame)
        head = (frame.get("modelVersion"), frame.get("responseId"))
        if head != self._head:
            self._head = head
            self._upstream_id = text_or_none(head[1]) or self._upstream_id
            yield ReplyStarted(_model_name(frame), text_or_none(head[1]))
        for candidate in objects_at(frame, "candidates"):
            yield from self._decode_candidate(candidate)
        self.is_finished = bool(self._choices) and all(choice.is_finished for choice in self._choices.values())

    def _decode_candidate(self, candidate: JSONObject) -> Iterator[Delta]:
        index = count_or_none(candidate.get("index")) or 0
        choice = self._choices.setdefault(index, _OpenCandidate())
        check_choices(len(self._choices))
        for wire in objects_at(object_at(candidate, "content"), "parts"):
            part = _decode_part(wire, call_id=_synthetic_call_id(self._upstream_id, choice.calls))
            if part is not None:
                yield from _add_part(choice, index, part)
        if extra := _decode_logprobs(candidate):
            yield ExtraDelta(index, extra)
        if native := text_or_none(candidate.get("finishReason")):
            yield ChoiceFinished(index, _finish_reason(native, choice.kinds), native)
            choice.is_finished = True


def _add_part(choice: _OpenCandidate, index: int, part: Part) -> Iterator[Delta]:
    """Yield what a part adds to a choice: texts by pieces, everything else whole."""
    is_more = type(part) is choice.open_kind
    choice.kinds.add(type(part))
    choice.parts += not is_more
    choice.calls += isinstance(part, ToolCallPart)
    place = choice.parts - 1
    if not isinstance(part, TextPart | ReasoningPart):
        choice.open_kind = None
        yield PartStarted(index, place, part)
        return
    choice.open_kind = type(part) if part.signature is None else None
    if not is_more:
        yield PartStarted(index, place, TextPart("") if isinstance(part, TextPart) else ReasoningPart(""))
    if part.text:
        yield PartDelta(index, place, part.text)
    if part.signature is not None:
        yield PartSigned(index, place, part.signature)


def encode_reply(response: ChatResponse, head: ReplyHead) -> JSONObject:
    body: JSONObject = {
        "candidates": [_encode_choice(choice) for choice in response.choices],
        "modelVersion": response.model_name or head.model_name,
        "responseId": response.upstream_id or head.id,
    }
    if response.usage is not None:
        body["usageMetadata"] = _encode_usage(response.usage)
    return body


def _encode_choice(choice: Choice) -> JSONObject:
    parts = [wire for part in choice.parts if (wire := _encode_answer_part(part)) is not None]
    candidate: JSONObject = {"content": {"role": "model", "parts": parts}, "index": choice.index}
    if choice.finish_reason is not None:
        candidate["finishReason"] = _native_reason(choice.finish_reason, choice.native_finish_reason)
    if extra := choice.extra:
        candidate |= _encode_logprobs(extra)
    return candidate


def _encode_answer_part(part: Part) -> JSONObject | None:
    if isinstance(part, ReasoningPart):
        return _signed({"thought": True, "text": part.text}, part)
    if isinstance(part, OpaquePart) and part.format is not FORMAT:
        return None
    return _encode_part(part)


def _native_reason(reason: FinishReason, native: str | None) -> str:
    is_known = native is not None and FINISH_REASONS.get(native, "stop") == FINISH_REASONS.get(
        NATIVE_FINISH_REASONS[reason], "stop"
    )
    return native if native is not None and is_known and native.isupper() else NATIVE_FINISH_REASONS[reason]


def _encode_logprobs(extra: Passthrough) -> JSONObject:
    tokens = object_or_empty(extra.fields.get("logprobs")).get("content")
    if not tokens:
        return {}
    return {
        "logprobsResult": {
            "chosenCandidates": [_encode_token(token) for token in tokens],
            "topCandidates": [
                {"candidates": [_encode_token(one) for one in token["top_logprobs"]]} for token in tokens
            ],
        }
    }


def _encode_token(token: JSONObject) -> JSONObject:
    return {"token": token["token"], "logProbability": token["logprob"]}


def _encode_usage(usage: Usage) -> JSONObject:
    counts = {
        "promptTokenCount": usage.prompt_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "candidatesTokenCount": usage.completion_tokens - (usage.reasoning_tokens or 0),
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens,
    }
    return {key: value for key, value in counts.items() if value is not None}


class GoogleStreamEncoder(StreamEncoder):
    """Renders each delta as a partial answer; a call goes out once it is whole."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._calls: dict[tuple[int, int], ToolCallPart] = {}
        self._kinds: dict[tuple[int, int], type[Part]] = {}

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        return b"".join([event_frame(frame) for delta in deltas for frame in self._frames(delta)])

    def _frames(self, delta: Delta) -> Iterator[JSONObject]:
        match delta:
            case ReplyStarted():
                model_name = delta.model_name or self._head.model_name
                yield {"modelVersion": model_name, "responseId": delta.upstream_id or self._head.id}
            case ChoiceFinished(choice=choice):
                yield from self._call_frames(choice)
                reason = _native_reason(delta.finish_reason, delta.native_finish_reason)
                yield {"candidates": [{"index": choice, "finishReason": reason}]}
            case ExtraDelta(choice=int(choice), extra=extra):
                yield {"candidates": [{"index": choice, **_encode_logprobs(extra)}]}
            case UsageTold(usage=usage):
                yield {"usageMetadata": _encode_usage(usage)}
            case PartStarted() | PartDelta() | PartSigned():
                yield from self._piece_frames(delta)

    def _piece_frames(self, delta: PartStarted | PartDelta | PartSigned) -> Iterator[JSONObject]:
        place = (delta.choice, delta.part)
        call = self._calls.get(place)
        if isinstance(delta, PartStarted):
            self._kinds[place] = type(delta.value)
            if isinstance(delta.value, ToolCallPart):
                self._calls[place] = delta.value
            else:
                yield from self._part_frames(delta.choice, delta.value)
        elif isinstance(delta, PartDelta):
            if call is not None:
                self._calls[place] = replace(call, arguments=call.arguments + delta.text)
            else:
                yield from self._part_frames(delta.choice, self._piece(place, delta.text))
        elif call is not None:
            self._calls[place] = replace(call, signature=delta.signature)
        else:
            yield from self._part_frames(delta.choice, replace(self._piece(place, ""), signature=delta.signature))

    def _piece(self, place: tuple[int, int], text: str) -> TextPart | ReasoningPart:
        return ReasoningPart(text) if self._kinds.get(place) is ReasoningPart else TextPart(text)

    def _part_frames(self, choice: int, part: Part) -> Iterator[JSONObject]:
        """Yield a part as it is, white space between words included."""
        if isinstance(part, TextPart | RefusalPart):
            wire: JSONObject | None = _signed({"text": part.text}, part)
        else:
            wire = _encode_answer_part(part)
        if wire is not None:
            yield {"candidates": [{"content": {"role": "model", "parts": [wire]}, "index": choice}]}

    def _call_frames(self, choice: int) -> Iterator[JSONObject]:
        for place in [place for place in self._calls if place[0] == choice]:
            yield from self._part_frames(choice, self._calls.pop(place))

    def end(self, response: ChatResponse) -> bytes:
        return event_frame({"usageMetadata": _encode_usage(response.usage)}) if response.usage else b""


def decode_error(status: int, body: Any) -> ProviderError:
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
        if delay := DURATION.fullmatch(str(detail.get("retryDelay"))):
            return min(math.ceil(float(delay[1])), MAX_RETRY_AFTER_S)
    return None
