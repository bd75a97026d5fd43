"""OpenAI's Responses API, asked and served.

Source: https://platform.openai.com/docs/api-reference/responses and /responses-streaming, read 2026-11.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from providers.backends.shapes import (
    count_or_none,
    find_text,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)
from providers.errors import MalformedReplyError, UnsupportedRequestError, UpstreamError
from providers.wire.codec import EncodedRequest, ReplyHead, StreamDecoder, StreamEncoder
from providers.wire.data_urls import InlineData, find_inline_data
from providers.wire.efforts import effort_of_budget
from providers.wire.foreign import NOTHING, check_foreign_params, foreign_names, own_fields, unsupported
from providers.wire.openai_errors import decode_error
from providers.wire.openai_responses_schema import RESPONSES_BODY
from providers.wire.rendering import dump_json, event_frame
from providers.wire.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    Delta,
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
    ToolResultPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.validation import check_body

FORMAT = WireFormat.OPENAI_RESPONSES
TARGET = "OpenAI's Responses API"

DROPPED_SAMPLING = ("top_k", "stop", "seed", "presence_penalty", "frequency_penalty")
LOGPROBS_WANTED = "message.output_text.logprobs"
SIGNATURE_WANTED = "reasoning.encrypted_content"

SHARED_WITH_CHAT = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
    }
)
"""Parameters that mean the same in OpenAI's chat completions."""

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

TYPED = frozenset(
    {
        "input", "instructions", "max_output_tokens", "model", "parallel_tool_calls", "stream", "temperature",
        "tools", "top_logprobs", "top_p", "user",
    }
)  # fmt: skip
_REPLY_KEYS = frozenset(
    {
        *ECHOED - {"service_tier"}, *TYPED, "completed_at", "conversation", "created_at", "error", "frequency_penalty",
        "id", "incomplete_details", "object", "output", "output_text", "presence_penalty", "prompt_cache_options",
        "reasoning", "status", "text", "tool_choice", "usage",
    }
)  # fmt: skip
_CALL_KEYS = frozenset({"arguments", "call_id", "extra_content", "id", "name", "status", "type"})
_TOOL_KEYS = frozenset({"description", "name", "parameters", "strict", "type"})
_ITEM_SLOTS = ("input", "output")


# Requests


def decode_request(body: JSONObject) -> ChatRequest:
    """Translate a body; the instructions become the first message.

    Errors: BadRequestError with the field's path.
    """
    check_body(RESPONSES_BODY, body)
    instructions = body.get("instructions")
    choice, include = body.get("tool_choice"), body.get("include") or []
    text = body.get("text") or NOTHING
    return ChatRequest(
        messages=(
            *((ChatMessage("system", instructions),) if instructions else ()),
            *_decode_input(body["input"]),
        ),
        model_name=body.get("model") or "",
        sampling=Sampling(
            temperature=body.get("temperature"),
            top_p=body.get("top_p"),
            max_tokens=body.get("max_output_tokens"),
            logprobs=True if LOGPROBS_WANTED in include else None,
            top_logprobs=body.get("top_logprobs"),
        ),
        tools=tuple([_decode_tool(tool) for tool in body.get("tools") or ()]),
        tool_choice=_find_tool_choice(choice),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        output_format=_decode_text_format(text.get("format")),
        reasoning=_decode_reasoning_settings(body.get("reasoning") or NOTHING),
        user=body.get("user"),
        is_stream=bool(body.get("stream")),
        extra=_decode_extra(body),
    )


def _decode_extra(body: JSONObject) -> Passthrough | None:
    """Return the fields that the value types do not have, `text.verbosity` by the name it has elsewhere."""
    fields = {key: value for key, value in body.items() if key not in TYPED}
    if "include" in fields:
        fields["include"] = [one for one in fields["include"] or () if one != LOGPROBS_WANTED]
    if _find_tool_choice(fields.get("tool_choice")) is not None or fields.get("tool_choice") is None:
        fields.pop("tool_choice", None)
    settings = dict(fields.pop("text", None) or NOTHING)
    settings.pop("format", None)
    if (verbosity := settings.pop("verbosity", None)) is not None:
        fields["verbosity"] = verbosity
    thinking = dict(fields.pop("reasoning", None) or NOTHING)
    thinking.pop("effort", None)
    rest = {"text": settings, "reasoning": thinking}
    fields |= {key: value for key, value in rest.items() if value}
    if not fields.get("include", True):
        del fields["include"]
    return Passthrough(FORMAT, fields) if fields else None


def _decode_input(value: str | list[JSONObject]) -> Iterator[ChatMessage]:
    """Translate the items; neighbours of the assistant's side are one message."""
    if isinstance(value, str):
        yield ChatMessage("user", value)
        return
    turn: list[Part] = []
    for item in value:
        role, parts, extra = _decode_item(item)
        if role == "assistant":
            turn += parts
            continue
        if turn:
            yield ChatMessage("assistant", turn)
            turn = []
        yield ChatMessage(role, parts, extra=extra)
    if turn:
        yield ChatMessage("assistant", turn)


def _decode_item(item: JSONObject) -> tuple[Role, list[Part], Passthrough | None]:
    type_ = item.get("type") or ("message" if "role" in item else "item_reference")
    if type_ == "message":
        role = cast("Role", item["role"])
        if role == "assistant":
            return role, _decode_output_message(item), None
        return role, _decode_contents(item["content"]), _rest(item, {"content", "id", "role", "status", "type"})
    if type_ == "function_call_output":
        rest = _rest(item, {"call_id", "id", "output", "status", "type"})
        return "tool", [ToolResultPart(item["call_id"], tuple(_decode_contents(item["output"])), extra=rest)], None
    if type_.endswith(("_output", "_response")):
        return "user", [OpaquePart(FORMAT, item, "input")], None
    return "assistant", [_decode_output_item(item, "input")], None


def _rest(wire: Mapping[str, Any], known: Iterable[str]) -> Passthrough | None:
    rest = {key: value for key, value in wire.items() if key not in known and value not in (None, [], {})}
    return Passthrough(FORMAT, rest) if rest else None


def _decode_contents(value: str | list[JSONObject]) -> list[Part]:
    return [TextPart(value)] if isinstance(value, str) else [_decode_content(part) for part in value]


def _decode_content(part: JSONObject) -> Part:
    """Translate a part; an image or a file that lies at the provider, or is told otherwise than by a URL, stays."""
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return TextPart(find_text(part, "text") or "", extra=_rest(part, {"type", "text"}))
        case "refusal":
            return RefusalPart(part["refusal"], _rest(part, {"type", "refusal"}))
        case "input_image" if part.get("image_url"):
            return ImagePart(part["image_url"], part.get("detail"), _rest(part, {"type", "image_url", "detail"}))
        case "input_file":
            return _decode_file(part)
        case "input_audio":
            sound = part["input_audio"]
            return AudioPart(sound["data"], sound["format"], _rest(part, {"type", "input_audio"}))
        case _:
            return OpaquePart(FORMAT, part)


def _decode_file(part: JSONObject) -> FilePart | OpaquePart:
    url = part.get("file_data") or part.get("file_url") or ""
    is_plain = not part.get("file_data") or url.startswith("data:")
    if not is_plain or not (url or part.get("file_id")):
        return OpaquePart(FORMAT, part)
    rest = _rest(part, {"type", "file_data", "file_url", "file_id", "filename"})
    return FilePart(url, part.get("filename"), part.get("file_id"), rest)


def _decode_tool(tool: JSONObject) -> Tool | OpaqueTool:
    if tool["type"] != "function":
        return OpaqueTool(FORMAT, tool)
    rest = _rest(tool, _TOOL_KEYS)
    return Tool(tool["name"], tool.get("description"), tool.get("parameters"), tool.get("strict"), rest)


def _find_tool_choice(choice: Any) -> ToolChoice | None:
    """Return the choice, None for one that only this format knows."""
    if isinstance(choice, str):
        return ToolChoice(cast("Any", choice))
    if isinstance(choice, dict) and choice.get("type") == "function" and choice.get("name"):
        return ToolChoice("tool", choice["name"])
    return None


def _decode_text_format(format_: JSONObject | None) -> OutputFormat | None:
    if not format_:
        return None
    fields = (format_.get(name) for name in ("schema", "name", "description", "strict"))
    return OutputFormat(format_["type"], *fields)


def _decode_reasoning_settings(settings: Mapping[str, Any]) -> Reasoning | None:
    effort = settings.get("effort")
    return None if effort is None else Reasoning(effort)


def encode_request(request: ChatRequest, *, stream: bool, stateless: bool = False) -> EncodedRequest:
    """Translate a request.

    Shape: `stateless` asks the provider to store nothing, and to send what it needs of its thoughts along, unless the
    caller says what is to be stored.
    Errors: UnsupportedRequestError for what cannot be said.
    """
    check_foreign_params(request, FORMAT, target=TARGET)
    if (request.sampling.n or 1) > 1:
        raise unsupported("n", TARGET)
    instructions, messages = _split_instructions(request.messages)
    body: JSONObject = {"model": request.model_name, "input": _encode_items(messages)}
    settings = {
        **_passed_on(request.extra, stream=stream),
        "instructions": instructions,
        "max_output_tokens": request.sampling.max_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_logprobs": request.sampling.top_logprobs,
        "user": request.user,
        **_encode_tools(request),
    }
    body |= {key: value for key, value in settings.items() if value is not None}
    _encode_settings(body, request, stateless=stateless)
    if stream:
        body["stream"] = True
    return EncodedRequest(body, tuple(sorted(set(_dropped_params(request)))))


def _dropped_params(request: ChatRequest) -> Iterator[str]:
    yield from (name for name in DROPPED_SAMPLING if getattr(request.sampling, name) is not None)
    if not request.tools:
        yield from (name for name in ("tool_choice", "parallel_tool_calls") if getattr(request, name) is not None)
    shared = SHARED_WITH_CHAT if request.extra and request.extra.format is WireFormat.OPENAI_CHAT else frozenset()
    yield from (name for name in foreign_names(request, FORMAT) if name not in shared and name != "messages.detail")


def _passed_on(extra: Passthrough | None, *, stream: bool) -> JSONObject:
    if extra is not None and extra.format is WireFormat.OPENAI_CHAT:
        return {key: value for key, value in extra.fields.items() if key in SHARED_WITH_CHAT}
    return {key: value for key, value in own_fields(extra, FORMAT).items() if stream or key != "stream_options"}


def _split_instructions(messages: Sequence[ChatMessage]) -> tuple[str | None, Sequence[ChatMessage]]:
    """Return the first message as instructions where it is plain text of the system."""
    if len(messages) < 2 or messages[0].role != "system" or messages[0].extra:
        return None, messages
    [*parts] = messages[0].parts
    if len(parts) != 1 or not isinstance(parts[0], TextPart) or parts[0].extra or not parts[0].text:
        return None, messages
    return parts[0].text, messages[1:]


def _encode_tools(request: ChatRequest) -> JSONObject:
    if not request.tools:
        return {}
    return {
        "tools": [_encode_tool(tool) for tool in request.tools],
        "parallel_tool_calls": request.parallel_tool_calls,
        **({"tool_choice": _encode_tool_choice(request.tool_choice)} if request.tool_choice else {}),
    }


def _encode_tool(tool: Tool | OpaqueTool) -> JSONObject:
    """Translate a tool; unless asked otherwise, calls need not keep to its schema, as in every other format."""
    if isinstance(tool, OpaqueTool):
        if tool.format is not FORMAT:
            raise unsupported("tools", TARGET)
        return dict(tool.wire)
    wire: JSONObject = {**own_fields(tool.extra, FORMAT), "type": "function", "name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    return wire | {"parameters": tool.parameters, "strict": tool.strict or False}


def _encode_tool_choice(choice: ToolChoice) -> str | JSONObject:
    return {"type": "function", "name": choice.name} if choice.mode == "tool" else choice.mode


def _encode_settings(body: JSONObject, request: ChatRequest, *, stateless: bool) -> None:
    """Add the settings that share an object or a list with what is passed on."""
    text = dict(object_or_empty(body.get("text")))
    if request.output_format is not None:
        text["format"] = _encode_text_format(request.output_format)
    if "verbosity" in body:
        text["verbosity"] = body.pop("verbosity")
    thinking = dict(object_or_empty(body.get("reasoning")))
    if (effort := _find_effort(request.reasoning)) is not None:
        thinking["effort"] = effort
    include = [LOGPROBS_WANTED] if request.sampling.logprobs else []
    if stateless and body.setdefault("store", False) is False:
        include.append(SIGNATURE_WANTED)
    told = body.get("include") or []
    include = [*told, *(one for one in include if one not in told)]
    body |= {key: value for key, value in (("text", text), ("reasoning", thinking), ("include", include)) if value}


def _find_effort(reasoning: Reasoning | None) -> str | None:
    if reasoning is None:
        return None
    if reasoning.effort is None and reasoning.budget_tokens is not None:
        return effort_of_budget(reasoning.budget_tokens)
    return reasoning.effort


def _encode_text_format(format_: OutputFormat) -> JSONObject:
    if format_.kind != "json_schema":
        return {"type": format_.kind}
    fields = {"schema": format_.schema, "description": format_.description, "strict": format_.strict}
    told = {key: value for key, value in fields.items() if value is not None}
    return {"type": "json_schema", "name": format_.name or "response", **told}


def _encode_items(messages: Iterable[ChatMessage]) -> list[JSONObject]:
    return [item for message in messages for item in _encode_message(message)]


def _encode_message(message: ChatMessage) -> Iterator[JSONObject]:
    """Yield a message as items: its texts and files as one between those that stand for themselves."""
    content: list[JSONObject] = []
    phase: Any = None
    for part in message.parts:
        if isinstance(part, ReasoningPart) and not _is_own(part.signature):
            continue
        item = _find_item(part, message.role)
        if item is None:
            own = own_fields(getattr(part, "extra", None), FORMAT).get("phase")
            if content and own != phase:
                yield _message_item(message, content, phase)
                content = []
            phase = own
            content.append(_encode_content(part, message.role))
            continue
        if content:
            yield _message_item(message, content, phase)
            content = []
        yield item
    if content:
        yield _message_item(message, content, phase)


def _message_item(message: ChatMessage, content: list[JSONObject], phase: Any) -> JSONObject:
    [first, *others] = content
    is_plain = not others and first["type"] in ("input_text", "output_text") and len(first) == 2
    item: JSONObject = {
        **own_fields(message.extra, FORMAT),
        "role": message.role,
        "content": first["text"] if is_plain else content,
    }
    return item if phase is None else item | {"phase": phase}


def _is_own(signature: Signature | None) -> bool:
    return signature is not None and signature.format is FORMAT


def _find_item(part: Part, role: Role) -> JSONObject | None:
    """Return the item that a part is by itself, None for one that is content of a message."""
    match part:
        case ReasoningPart():
            return _reasoning_item(part, part.id)
        case ToolCallPart():
            call = {"call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
            return {**own_fields(part.extra, FORMAT), "type": "function_call", **call}
        case ToolResultPart():
            contents = [_encode_content(one, "user") for one in part.parts]
            is_plain = len(contents) == 1 and contents[0].keys() == {"type", "text"}
            output: Any = contents[0]["text"] if is_plain else contents
            wire = {"type": "function_call_output", "call_id": part.call_id, "output": output}
            return {**own_fields(part.extra, FORMAT), **wire}
        case ImagePart() if role == "assistant":
            return _image_item(part, f"ig_{zlib.crc32(part.url.encode()):x}") or _refuse(
                "an image of the assistant by its URL"
            )
        case OpaquePart() if part.format is FORMAT and part.slot in _ITEM_SLOTS:
            return dict(part.wire)
    return None


def _refuse(what: str) -> Any:
    raise UnsupportedRequestError(f"The hub cannot send {what} to {TARGET}.", param="messages")


def _encode_content(part: Part, role: Role) -> JSONObject:
    """Errors: UnsupportedRequestError."""
    extra = {key: value for key, value in own_fields(getattr(part, "extra", None), FORMAT).items() if key != "phase"}
    match part:
        case TextPart():
            return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text, **extra}
        case RefusalPart() if role == "assistant":
            return {"type": "refusal", "refusal": part.text, **extra}
        case ImagePart() if role != "assistant":
            find_inline_data(part.url, what="image")
            detail = {} if part.detail is None else {"detail": part.detail}
            return {"type": "input_image", "image_url": part.url, **detail, **extra}
        case FilePart() if role != "assistant":
            return {"type": "input_file", **_encode_file(part), **extra}
        case AudioPart() if role != "assistant":
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.audio_format}, **extra}
        case OpaquePart() if part.format is FORMAT:
            return dict(part.wire)
        case _:
            refused: JSONObject = _refuse(f"content of this kind in a message of the role `{role}`")
            return refused


def _encode_file(part: FilePart) -> JSONObject:
    wire: JSONObject = {}
    if part.url:
        wire["file_url" if find_inline_data(part.url, what="file") is None else "file_data"] = part.url
    if part.file_id is not None:
        wire["file_id"] = part.file_id
    return wire if part.filename is None else wire | {"filename": part.filename}


# Items of an answer, which come back as input


def _decode_output_item(item: JSONObject, slot: str) -> Part:
    """Translate an item other than a message, whose parts are several."""
    match item.get("type"):
        case "function_call":
            return _decode_call(item)
        case "reasoning":
            return _decode_reasoning(item)
        case "image_generation_call" if isinstance(item.get("result"), str) and item["result"]:
            media_type = f"image/{text_or_none(item.get('output_format')) or 'png'}"
            return ImagePart(InlineData(media_type, item["result"]).url)
        case _:
            return OpaquePart(FORMAT, item, slot)


def _decode_output_message(item: JSONObject) -> list[Part]:
    """Translate a message; its phase stands with its parts, as a turn may hold messages of several."""
    parts = _decode_contents(item["content"])
    phase = item.get("phase")
    if phase is None:
        return parts
    return [_with_field(part, "phase", phase) for part in parts]


def _with_field(part: Part, name: str, value: Any) -> Part:
    if not isinstance(part, TextPart | RefusalPart):
        return part
    fields = part.extra.fields if part.extra else NOTHING
    return replace(part, extra=Passthrough(FORMAT, {**fields, name: value}))


def _decode_call(item: JSONObject) -> ToolCallPart:
    google = object_or_empty(object_or_empty(item.get("extra_content")).get("google"))
    value = text_or_none(google.get("thought_signature"))
    return ToolCallPart(
        text_or_none(item.get("call_id")) or text_at(item, "id"),
        text_at(item, "name"),
        text_or_none(item.get("arguments")) or "{}",
        Signature(WireFormat.GOOGLE, value) if value else None,
        _rest(item, _CALL_KEYS),
    )


def _decode_reasoning(item: JSONObject) -> ReasoningPart:
    texts = objects_at(item, "summary") or objects_at(item, "content")
    signature, is_redacted = _decode_signature(text_or_none(item.get("encrypted_content")))
    text = "\n\n".join([text_or_none(one.get("text")) or "" for one in texts])
    return ReasoningPart(text, signature, is_redacted, text_or_none(item.get("id")))


_REDACTED = "redacted"
_FORMATS = frozenset(WireFormat)


def _encode_signature(part: ReasoningPart) -> str | None:
    """Return what clients send back unseen; the signature of another format is marked with its name."""
    if part.signature is None or part.signature.format is FORMAT:
        return part.signature.value if part.signature else None
    mark = f"{_REDACTED}:" if part.is_redacted else ""
    return f"{part.signature.format}:{mark}{part.signature.value}"


def _decode_signature(value: str | None) -> tuple[Signature | None, bool]:
    if not value:
        return None, False
    format_, mark, rest = value.partition(":")
    if not mark or format_ not in _FORMATS:
        return Signature(FORMAT, value), False
    is_redacted = rest.startswith(f"{_REDACTED}:")
    return Signature(WireFormat(format_), rest.removeprefix(f"{_REDACTED}:") if is_redacted else rest), is_redacted


def _reasoning_item(part: ReasoningPart, id_: str | None) -> JSONObject:
    item: JSONObject = {"type": "reasoning"} if id_ is None else {"id": id_, "type": "reasoning"}
    item["summary"] = [{"type": "summary_text", "text": part.text}] if part.text else []
    item["encrypted_content"] = _encode_signature(part)
    return item


def _image_item(part: ImagePart, id_: str) -> JSONObject | None:
    """Return an image of the answer as OpenAI's own image tool sends it, None for one that lies elsewhere."""
    inline = find_inline_data(part.url, what="image")
    if inline is None:
        return None
    return {
        "id": id_,
        "type": "image_generation_call",
        "status": "completed",
        "output_format": inline.media_type.removeprefix("image/"),
        "result": inline.data,
    }


# Answers


def decode_reply(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError, UpstreamError for one that was given up, or the error in the body.
    """
    _check_answered(body)
    parts = [part for item in objects_at(body, "output") for part in _decode_output(item)]
    finish_reason, native = _finish_reason(body, parts)
    logprobs = [token for item in objects_at(body, "output") for token in _logprobs_of(item)]
    choice = Choice(
        parts=tuple([_without_logprobs(part) for part in parts]),
        finish_reason=finish_reason,
        native_finish_reason=native,
        extra=_logprobs_extra(logprobs) if logprobs else None,
    )
    return ChatResponse(
        choices=(choice,),
        model_name=text_or_none(body.get("model")) or "",
        usage=find_usage(body),
        upstream_id=text_or_none(body.get("id")),
        extra=_rest(body, _REPLY_KEYS),
    )


def _check_answered(body: JSONObject) -> None:
    if body.get("error") or body.get("object") == "error":
        raise decode_error(200, body)
    status = body.get("status")
    if status in ("failed", "cancelled"):
        raise UpstreamError("The provider gave up on the answer.", code="provider_error")
    if status in ("queued", "in_progress") or "output" not in body:
        raise MalformedReplyError("The provider's answer is not whole.")


def _decode_output(item: JSONObject) -> list[Part]:
    if item.get("type") != "message":
        return [_decode_output_item(item, "output")]
    return _decode_output_message({**item, "content": objects_at(item, "content")})


def _finish_reason(body: JSONObject, parts: Iterable[Part]) -> tuple[FinishReason, str]:
    if body.get("status") == "incomplete":
        native = text_or_none(object_or_empty(body.get("incomplete_details")).get("reason")) or "incomplete"
        return FINISH_REASONS.get(native, "stop"), native
    is_calling = any(isinstance(part, ToolCallPart) for part in parts)
    return "tool_calls" if is_calling else "stop", "completed"


def _logprobs_of(item: JSONObject) -> list[JSONObject]:
    contents = objects_at(item, "content") if item.get("type") == "message" else []
    return [token for part in contents for token in objects_at(part, "logprobs")]


def _logprobs_extra(tokens: list[JSONObject]) -> Passthrough:
    """Return log probabilities in the shape of chat completions, the one that every encoder knows."""
    return Passthrough(WireFormat.OPENAI_CHAT, {"logprobs": {"content": tokens, "refusal": None}})


def _without_logprobs(part: Part) -> Part:
    if not isinstance(part, TextPart) or part.extra is None or "logprobs" not in part.extra.fields:
        return part
    return replace(part, extra=_rest(part.extra.fields, {"logprobs"}))


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
    return _response_object(
        head,
        model_name=response.model_name,
        extra=own_fields(response.extra, FORMAT),
        status="incomplete" if reason else "completed",
        incomplete_details={"reason": reason} if reason else None,
        output=_encode_output(choice, head, is_whole=not reason),
        usage=_encode_usage(response.usage) if response.usage else None,
    )


def _response_object(
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
    own = {**own_fields(request.extra, FORMAT), **_passed_on(request.extra, stream=True)}
    instructions, _ = _split_instructions(request.messages)
    text: JSONObject = {"format": _encode_text_format(request.output_format or OutputFormat("text"))}
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
        "reasoning": {"summary": None, **own.get("reasoning", NOTHING), "effort": _find_effort(request.reasoning)},
        "store": False,
        "temperature": request.sampling.temperature,
        "text": {**object_or_empty(own.get("text")), **text},
        "tool_choice": _encode_tool_choice(request.tool_choice) if request.tool_choice else choice,
        "tools": [_echoed_tool(tool) for tool in request.tools],
        "top_logprobs": request.sampling.top_logprobs or 0,
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "user": request.user,
        **{key: value for key, value in own.items() if key in ECHOED and value is not None},
    }


def _echoed_tool(tool: Tool | OpaqueTool) -> JSONObject:
    return dict(tool.wire) if isinstance(tool, OpaqueTool) else _encode_tool(tool)


def _item_id(prefix: str, head: ReplyHead, index: int) -> str:
    return f"{prefix}_{head.id.removeprefix('resp_')}_{index}"


def _encode_output(choice: Choice, head: ReplyHead, *, is_whole: bool) -> list[JSONObject]:
    """Render the parts of an answer as items: neighbouring texts are one message."""
    items: list[JSONObject] = []
    tokens = _logprobs_in(choice.extra)
    for part in choice.parts:
        if _is_content(part):
            content = _answer_content(part)
            if content["type"] == "output_text":
                content["logprobs"], tokens = tokens, []
            phase = _phase_of(part)
            if not items or items[-1]["type"] != "message" or items[-1].get("phase") != phase:
                items.append(_message_object(_item_id("msg", head, len(items)), phase))
            items[-1]["content"].append(content)
        elif (item := _find_answer_item(part, head, len(items))) is not None:
            items.append(item)
    if items and not is_whole and items[-1]["type"] in ("message", "function_call"):
        items[-1]["status"] = "incomplete"
    return items


def _is_content(part: Part) -> bool:
    return isinstance(part, TextPart | RefusalPart | FilePart | AudioPart) or (
        isinstance(part, ImagePart) and not part.url.startswith("data:")
    )


def _phase_of(part: Part) -> Any:
    return own_fields(getattr(part, "extra", None), FORMAT).get("phase")


def _message_object(id_: str, phase: Any, status: str = "completed") -> JSONObject:
    item = {"id": id_, "type": "message", "status": status, "role": "assistant", "content": []}
    return item if phase is None else item | {"phase": phase}


def _answer_content(part: Part) -> JSONObject:
    """Render a part of a message; files and sound, for which the format has no words, in its words for input."""
    match part:
        case TextPart():
            annotations = own_fields(part.extra, FORMAT).get("annotations", [])
            return {"type": "output_text", "text": part.text, "annotations": annotations, "logprobs": []}
        case RefusalPart():
            return {"type": "refusal", "refusal": part.text}
        case FilePart():
            return {"type": "output_file", **_encode_file(part)}
        case AudioPart():
            return {"type": "output_audio", "data": part.data, "format": part.audio_format, "transcript": ""}
        case ImagePart():
            return {"type": "output_image", "image_url": part.url}
    raise AssertionError("not content of a message")


def _find_answer_item(part: Part, head: ReplyHead, index: int) -> JSONObject | None:
    """Return the item that a part of an answer is, None for one that only another format knows."""
    match part:
        case ReasoningPart():
            return _reasoning_item(part, part.id or _item_id("rs", head, index))
        case ToolCallPart():
            return _call_object(part, _item_id("fc", head, index), status="completed", arguments=part.arguments)
        case ImagePart():
            return _image_item(part, _item_id("ig", head, index))
        case OpaquePart() if part.format is FORMAT:
            return {"id": _item_id("it", head, index), **part.wire}
    return None


def _call_object(part: ToolCallPart, id_: str, *, status: str, arguments: str) -> JSONObject:
    item = {
        **own_fields(part.extra, FORMAT),
        "id": id_,
        "type": "function_call",
        "status": status,
        "call_id": part.id,
        "name": part.name,
        "arguments": arguments,
    }
    if part.signature is not None and part.signature.format is WireFormat.GOOGLE:
        item["extra_content"] = {"google": {"thought_signature": part.signature.value}}
    return item


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


# Streams


class ResponsesStreamDecoder(StreamDecoder):
    """Translates the events of one answer, whose end is the event with all of it; what it tells anew is added."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], int] = {}
        self._begun: list[Part] = []
        self._has_text: set[int] = set()
        self._items: dict[int, JSONObject] = {}
        self._whole_items: set[int] = set()
        self._is_begun = False

    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        type_ = frame.get("type")
        if type_ == "response.output_text.delta":
            place = self._places.get((frame.get("output_index", 0), frame.get("content_index", 0)))
            text = frame.get("delta")
            if place is not None and place in self._has_text and type(text) is str and not frame.get("logprobs"):
                return (PartDelta(0, place, text),)
        return list(self._decode(type_, frame))

    def _decode(self, type_: Any, frame: JSONObject) -> Iterator[Delta]:
        index = count_or_none(frame.get("output_index")) or 0
        if type_ in ("error", "response.failed"):
            raise decode_error(200, object_at(frame, "response") or frame)
        if type_ in ("response.completed", "response.incomplete"):
            yield from self._finish(object_at(frame, "response"))
        elif type_ in ("response.created", "response.in_progress"):
            yield from self._begin(object_at(frame, "response"))
        elif type_ == "response.output_item.added":
            self._items[index] = object_at(frame, "item")
            yield from self._add_item(index, self._items[index])
        elif type_ == "response.output_item.done":
            yield from self._end_item(index, object_at(frame, "item"))
        elif type_ in _TEXT_DELTAS:
            yield from self._add_text(index, frame, _TEXT_DELTAS[type_])
        elif type_ == "response.reasoning_summary_part.added" and count_or_none(frame.get("summary_index")):
            yield from self._add_text(index, {"delta": "\n\n"}, ReasoningPart(""))

    def _begin(self, response: JSONObject) -> Iterator[Delta]:
        if not self._is_begun:
            self._is_begun = True
            yield ReplyStarted(text_or_none(response.get("model")), text_or_none(response.get("id")))

    def _add_item(self, index: int, item: JSONObject) -> Iterator[Delta]:
        """Begin a call or thoughts; texts begin with their first word, what comes whole with its end."""
        if item.get("type") == "function_call":
            yield self._start((index, 0), replace(_decode_call(item), arguments=""))
        elif item.get("type") == "reasoning":
            yield self._start((index, 0), ReasoningPart("", id=text_or_none(item.get("id"))))

    def _start(self, key: tuple[int, int], part: Part) -> PartStarted:
        place = self._places[key] = len(self._begun)
        self._begun.append(part)
        return PartStarted(0, place, part)

    def _add_text(self, index: int, frame: JSONObject, kind: Part) -> Iterator[Delta]:
        """Add to a part; one that nothing has begun begins here, but for a call, which needs its name."""
        text = text_or_none(frame.get("delta"))
        is_content = isinstance(kind, TextPart | RefusalPart)
        key = (index, (count_or_none(frame.get("content_index")) or 0) if is_content else 0)
        if not text or (isinstance(kind, ToolCallPart) and key not in self._places):
            return
        if key not in self._places:
            phase = object_or_empty(self._items.get(index)).get("phase")
            yield self._start(key, kind if phase is None else _with_field(kind, "phase", phase))
        place = self._places[key]
        self._has_text.add(place)
        yield PartDelta(0, place, text)
        if tokens := objects_at(frame, "logprobs"):
            yield ExtraDelta(0, _logprobs_extra(tokens))

    def _end_item(self, index: int, item: JSONObject) -> Iterator[Delta]:
        """Add what an item tells beyond what was told of it before, which may be all of it."""
        self._whole_items.add(index)
        for number, whole in enumerate(_decode_output(item)):
            part = _without_logprobs(whole)
            is_told = self._places.get((index, number)) in self._has_text
            if not isinstance(part, TextPart | RefusalPart | ReasoningPart | ToolCallPart):
                yield self._start((index, number), part)
                continue
            if (index, number) not in self._places:
                yield self._start((index, number), _emptied(part))
            yield from self._end_part(self._places[index, number], part)
            if not is_told and (tokens := own_fields(getattr(whole, "extra", None), FORMAT).get("logprobs")):
                yield ExtraDelta(0, _logprobs_extra(tokens))

    def _end_part(self, place: int, part: TextPart | RefusalPart | ReasoningPart | ToolCallPart) -> Iterator[Delta]:
        text = part.arguments if isinstance(part, ToolCallPart) else part.text
        if text and place not in self._has_text:
            yield PartDelta(0, place, text)
        signature = None if isinstance(part, RefusalPart) else part.signature
        if signature is not None and getattr(self._begun[place], "signature", None) is None:
            yield PartSigned(0, place, signature)
        known = getattr(self._begun[place], "extra", None)
        if part.extra is not None and (more := _rest(part.extra.fields, known.fields if known else ())):
            yield ExtraDelta(0, more, place)

    def _finish(self, response: JSONObject) -> Iterator[Delta]:
        _check_answered({"output": [], **response})
        yield from self._begin(response)
        for index, item in enumerate(objects_at(response, "output")):
            if index not in self._whole_items:
                yield from self._end_item(index, item)
        if extra := _rest(response, _REPLY_KEYS):
            yield ExtraDelta(None, extra)
        if usage := find_usage(response):
            yield UsageTold(usage)
        yield ChoiceFinished(0, *_finish_reason(response, self._begun))
        self.is_finished = True


_TEXT_DELTAS: Mapping[str, Part] = {
    "response.output_text.delta": TextPart(""),
    "response.refusal.delta": RefusalPart(""),
    "response.reasoning_summary_text.delta": ReasoningPart(""),
    "response.reasoning_text.delta": ReasoningPart(""),
    "response.function_call_arguments.delta": ToolCallPart("", "", ""),
}


def _emptied(part: TextPart | RefusalPart | ReasoningPart | ToolCallPart) -> Part:
    if isinstance(part, ToolCallPart):
        return replace(part, arguments="")
    return replace(part, text="") if isinstance(part, RefusalPart) else replace(part, text="", signature=None)


class _OpenPart:
    """A part of a served stream that may go on. Shape: `head` is what stands before the text of each of its deltas."""

    __slots__ = ("content_index", "head", "item_id", "output_index", "pieces", "value")

    def __init__(self, value: Part, item_id: str, output_index: int, content_index: int) -> None:
        self.value = value
        self.item_id = item_id
        self.output_index = output_index
        self.content_index = content_index
        self.pieces: list[str] = []
        type_, fields = self._delta_event()
        event = dump_json({"type": type_, "item_id": item_id, "output_index": output_index, **fields})
        self.head = b'event: %b\ndata: %b,"delta":' % (type_.encode(), event[:-1])

    def _delta_event(self) -> tuple[str, JSONObject]:
        match self.value:
            case TextPart():
                return "response.output_text.delta", {"content_index": self.content_index, "logprobs": []}
            case RefusalPart():
                return "response.refusal.delta", {"content_index": self.content_index}
            case ReasoningPart():
                return "response.reasoning_summary_text.delta", {"summary_index": 0}
            case _:
                return "response.function_call_arguments.delta", {}

    def text(self) -> str:
        return "".join(self.pieces)


class ResponsesStreamEncoder(StreamEncoder):
    """Renders the first choice as events; calls stay open until the end, as their pieces may come in turns."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._sequence = 0
        self._model_name: str | None = None
        self._is_begun = False
        self._outputs = 0
        self._open: dict[int, _OpenPart] = {}
        self._message: JSONObject | None = None
        self._message_index = 0

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        frames: list[bytes] = []
        for delta in deltas:
            if type(delta) is PartDelta:
                if delta.choice == 0 and (part := self._open.get(delta.part)) is not None:
                    if not part.pieces and isinstance(part.value, ReasoningPart):
                        frames.append(self._summary_event("added", part, ""))
                    frames.append(self._delta_frame(part, delta.text))
            else:
                frames += self._frames(delta)
        return b"".join(frames)

    def _delta_frame(self, part: _OpenPart, text: str) -> bytes:
        part.pieces.append(text)
        number = self._sequence
        self._sequence = number + 1
        return b'%b%b,"sequence_number":%d}\n\n' % (part.head, dump_json(text), number)

    def _frames(self, delta: Delta) -> Iterator[bytes]:
        match delta:
            case ReplyStarted():
                self._model_name = delta.model_name or self._model_name
            case PartStarted(choice=0):
                yield from self._begin()
                yield from self._start(delta.part, delta.value)
            case PartSigned(choice=0) if (part := self._open.get(delta.part)) is not None:
                if isinstance(part.value, ReasoningPart | ToolCallPart):
                    part.value = replace(part.value, signature=delta.signature)
            case ExtraDelta(choice=0, part=int(place)) if (part := self._open.get(place)) is not None:
                yield from self._annotate(part, delta.extra)
            case ChoiceFinished(choice=0):
                yield from self._close_all("incomplete" if delta.finish_reason in INCOMPLETE_REASONS else "completed")

    def _event(self, type_: str, **fields: Any) -> bytes:
        number = self._sequence
        self._sequence = number + 1
        return event_frame({"type": type_, **fields, "sequence_number": number}, event=type_)

    def _begin(self) -> Iterator[bytes]:
        if self._is_begun:
            return
        self._is_begun = True
        response = _response_object(self._head, model_name=self._model_name, status="in_progress")
        yield self._event("response.created", response=response)
        yield self._event("response.in_progress", response=response)

    def _start(self, place: int, value: Part) -> Iterator[bytes]:
        if _is_content(value):
            yield from self._start_content(place, value)
            return
        yield from self._close_all(keep_calls=isinstance(value, ToolCallPart))
        index = self._outputs
        item = _find_answer_item(value, self._head, index)
        if item is None:
            return
        self._outputs += 1
        if not isinstance(value, ReasoningPart | ToolCallPart):
            yield from self._whole_item(index, item)
            return
        self._open[place] = _OpenPart(value, item["id"], index, 0)
        yield self._event("response.output_item.added", output_index=index, item=item | _blank(value))
        text = value.text if isinstance(value, ReasoningPart) else value.arguments
        if text:
            yield self.encode([PartDelta(0, place, text)])

    def _start_content(self, place: int, value: Part) -> Iterator[bytes]:
        phase = _phase_of(value)
        if self._message is None or self._message.get("phase") != phase:
            yield from self._close_all()
            self._message_index = self._outputs
            self._outputs += 1
            self._message = _message_object(_item_id("msg", self._head, self._message_index), phase, "in_progress")
            yield self._event("response.output_item.added", output_index=self._message_index, item=self._message)
        else:
            yield from self._close_contents()
        content = _answer_content(value)
        index = len(self._message["content"])
        part = _OpenPart(value, self._message["id"], self._message_index, index)
        blank = content | {key: "" for key in ("text", "refusal") if key in content}
        yield self._event("response.content_part.added", **self._content_place(part), part=blank)
        if not isinstance(value, TextPart | RefusalPart):
            self._message["content"].append(content)
            yield self._event("response.content_part.done", **self._content_place(part), part=content)
            return
        self._open[place] = part
        if value.text:
            yield self._delta_frame(part, value.text)

    def _content_place(self, part: _OpenPart) -> JSONObject:
        return {"item_id": part.item_id, "output_index": part.output_index, "content_index": part.content_index}

    def _whole_item(self, index: int, item: JSONObject) -> Iterator[bytes]:
        begun = {key: value for key, value in item.items() if key != "result"}
        if "status" in begun:
            begun["status"] = "in_progress"
        yield self._event("response.output_item.added", output_index=index, item=begun)
        if item.get("type") == "image_generation_call":
            place = {"output_index": index, "item_id": item["id"]}
            yield self._event("response.image_generation_call.in_progress", **place)
            yield self._event("response.image_generation_call.completed", **place)
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _annotate(self, part: _OpenPart, extra: Passthrough) -> Iterator[bytes]:
        known = own_fields(getattr(part.value, "extra", None), FORMAT)
        annotations = list(own_fields(extra, FORMAT).get("annotations", ()))
        if not annotations or not isinstance(part.value, TextPart):
            return
        before = known.get("annotations", [])
        part.value = replace(part.value, extra=Passthrough(FORMAT, {**known, "annotations": [*before, *annotations]}))
        for number, annotation in enumerate(annotations, len(before)):
            place = {**self._content_place(part), "annotation_index": number}
            yield self._event("response.output_text.annotation.added", **place, annotation=annotation)

    def _close_all(self, status: str = "completed", *, keep_calls: bool = False) -> Iterator[bytes]:
        """End what is open, but for calls where one more begins: only the last thing may be incomplete."""
        yield from self._close_contents()
        if self._message is not None:
            message, self._message = self._message, None
            message["status"] = status
            yield self._event("response.output_item.done", output_index=self._message_index, item=message)
        places = [place for place in self._open if not keep_calls or not _is_call(self._open[place])]
        for place in places:
            part = self._open.pop(place)
            is_last = part.output_index == self._outputs - 1
            yield from self._close_item(part, status if is_last else "completed")

    def _close_contents(self) -> Iterator[bytes]:
        for place in [place for place, part in self._open.items() if isinstance(part.value, TextPart | RefusalPart)]:
            part = self._open.pop(place)
            assert isinstance(part.value, TextPart | RefusalPart)
            assert self._message is not None
            content = _answer_content(replace(part.value, text=part.text()))
            self._message["content"].append(content)
            kind, field = ("output_text", "text") if isinstance(part.value, TextPart) else ("refusal", "refusal")
            told = {field: content[field]} | ({"logprobs": []} if field == "text" else {})
            yield self._event(f"response.{kind}.done", **self._content_place(part), **told)
            yield self._event("response.content_part.done", **self._content_place(part), part=content)

    def _close_item(self, part: _OpenPart, status: str) -> Iterator[bytes]:
        place = {"item_id": part.item_id, "output_index": part.output_index}
        text = part.text()
        if isinstance(part.value, ToolCallPart):
            call = {"name": part.value.name, "arguments": text}
            yield self._event("response.function_call_arguments.done", **place, **call)
            item = _call_object(part.value, part.item_id, status=status, arguments=text)
        else:
            assert isinstance(part.value, ReasoningPart)
            if part.pieces:
                yield self._event("response.reasoning_summary_text.done", **place, summary_index=0, text=text)
                yield self._summary_event("done", part, text)
            item = _reasoning_item(replace(part.value, text=text), part.item_id)
        yield self._event("response.output_item.done", output_index=part.output_index, item=item)

    def _summary_event(self, what: str, part: _OpenPart, text: str) -> bytes:
        summary = {"type": "summary_text", "text": text}
        place = {"item_id": part.item_id, "output_index": part.output_index, "summary_index": 0}
        return self._event(f"response.reasoning_summary_part.{what}", **place, part=summary)

    def end(self, response: ChatResponse) -> bytes:
        self._model_name = self._model_name or response.model_name
        whole = encode_reply(response, self._head)
        frames = [*self._begin(), *self._close_all(whole["status"])]
        return b"".join([*frames, self._event(f"response.{whole['status']}", response=whole)])

    def fail(self, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
        """Render what ends a stream that broke."""
        error = {"code": code or "server_error", "message": message}
        response = _response_object(self._head, model_name=self._model_name, status="failed", error=error)
        frames = [*self._begin(), self._event("error", code=code, message=message, param=param)]
        return b"".join([*frames, self._event("response.failed", response=response)])


def _blank(value: ReasoningPart | ToolCallPart) -> JSONObject:
    """Return what an item lacks when it begins."""
    if isinstance(value, ToolCallPart):
        return {"status": "in_progress", "arguments": ""}
    return {"summary": [], "encrypted_content": None}


def _is_call(part: _OpenPart) -> bool:
    return isinstance(part.value, ToolCallPart)
