"""The messages of OpenAI's chat completions, as callers send them and as providers get them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from providers.errors import UnsupportedRequestError
from providers.types import (
    AudioPart,
    ChatMessage,
    FilePart,
    ImagePart,
    JSONObject,
    OpaquePart,
    Part,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    Signature,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    WireFormat,
)
from providers.wire.data_urls import normalized_url
from providers.wire.foreign import own_fields
from providers.wire.json_access import object_or_empty, objects_or_empty, text_or_none
from providers.wire.validation import BadRequestError

FORMAT = WireFormat.OPENAI_CHAT
TARGET = "providers that speak OpenAI's chat completions"
ATTACHED = "The result is attached to the next message."
"""Stands in the result of a call that is no text: files are taken in the user's messages alone."""

DEFAULT_FILENAME = "document.pdf"

_ASSISTANT_KEYS = frozenset(
    {"role", "content", "reasoning_content", "refusal", "images", "tool_calls", "extra_content"}
)
_CALL_KEYS = frozenset({"id", "type", "index", "function", "extra_content"})
_FUNCTION_KEYS = frozenset({"name", "arguments"})


def passthrough(*wires: Mapping[str, Any]) -> Passthrough | None:
    fields = {key: value for wire in wires for key, value in wire.items()}
    return Passthrough(FORMAT, fields) if fields else None


def rest_of(wire: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """Return what an object holds beyond the known keys."""
    return {key: value for key, value in wire.items() if key not in known}


def decode_messages(messages: list[JSONObject]) -> tuple[ChatMessage, ...]:
    """Translate messages that keep to the schema.

    Errors: BadRequestError for one that says nothing.
    """
    return tuple([_find_plain(wire) or _decode_message(wire, number) for number, wire in enumerate(messages)])


def _find_plain(wire: JSONObject) -> ChatMessage | None:
    """Return a message of nothing but role and text, as most are, without a look at what it does not have."""
    content, role = wire.get("content"), wire["role"]
    if len(wire) != 2 or not isinstance(content, str) or role in ("function", "tool"):
        return None
    return ChatMessage(role, content)


def _decode_message(wire: JSONObject, number: int) -> ChatMessage:
    role, content = wire["role"], wire.get("content")
    if content is None and not wire.get("tool_calls") and role != "assistant":
        raise BadRequestError(f"`messages[{number}].content` is missing.", param=f"messages[{number}].content")
    if role == "assistant":
        return ChatMessage(role, _assistant_parts(wire), extra=_assistant_extra(wire))
    if role == "function":
        return ChatMessage("tool", [OpaquePart(FORMAT, wire, "messages")])
    if role == "tool":
        result = ToolResultPart(wire.get("tool_call_id") or "", tuple(decode_content(content)))
        return ChatMessage(role, [result], extra=passthrough(rest_of(wire, ("role", "content", "tool_call_id"))))
    return ChatMessage(role, decode_content(content), extra=passthrough(rest_of(wire, ("role", "content"))))


def _assistant_parts(wire: JSONObject) -> Iterator[Part]:
    yield from decode_reasoning(wire, text_or_none(wire.get("reasoning_content")))
    yield from _assistant_content(wire.get("content"))
    if refusal := text_or_none(wire.get("refusal")):
        yield RefusalPart(refusal)
    yield from decode_images(wire.get("images"))
    for call in wire.get("tool_calls") or ():
        yield decode_call(call, call_id=text_or_none(call.get("id")) or "")


def _assistant_content(content: Any) -> Iterator[Part]:
    """Yield what is said; an image among it stays as it came, as those that stand beside it go into `images`."""
    if not isinstance(content, list):
        yield from decode_content(content)
        return
    for wire in content:
        yield OpaquePart(FORMAT, wire) if wire["type"] == "image_url" else decode_part(wire)


def _assistant_extra(wire: JSONObject) -> Passthrough | None:
    unread = {key: wire[key] for key in ("refusal", "reasoning_content") if not isinstance(wire.get(key), str | None)}
    return passthrough(rest_of(wire, _ASSISTANT_KEYS), unread, extra_content_of(wire, "anthropic", "thinking_blocks"))


def decode_reasoning(wire: JSONObject, thoughts: str | None) -> Iterator[ReasoningPart]:
    """Yield what the model thought: Anthropic's own blocks where they came along, else the text."""
    blocks = thinking_blocks(wire)
    for block in blocks:
        yield decode_thinking_block(block)
    if not blocks and thoughts:
        yield ReasoningPart(thoughts)


def thinking_blocks(wire: JSONObject) -> list[JSONObject]:
    if not wire.get("extra_content"):
        return []
    signed = object_or_empty(object_or_empty(wire["extra_content"]).get("anthropic"))
    return objects_or_empty(signed.get("thinking_blocks"))


def decode_thinking_block(block: JSONObject) -> ReasoningPart:
    is_redacted = "data" in block
    value = text_or_none(block.get("data" if is_redacted else "signature"))
    signature = Signature(WireFormat.ANTHROPIC_MESSAGES, value) if value else None
    return ReasoningPart(text_or_none(block.get("thinking")) or "", signature, is_redacted)


def encode_thinking_block(part: ReasoningPart) -> JSONObject | None:
    """Return the block of thoughts that Anthropic signed, as its API has it; None for other thoughts."""
    if part.signature is None or part.signature.format is not WireFormat.ANTHROPIC_MESSAGES:
        return None
    if part.is_redacted:
        return {"type": "redacted_thinking", "data": part.signature.value}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature.value}


def decode_images(images: Any) -> Iterator[ImagePart]:
    """Yield the images that stand beside an answer's text."""
    for image in objects_or_empty(images):
        if isinstance(url := object_or_empty(image.get("image_url")).get("url"), str):
            yield ImagePart(url, extra=passthrough(rest_of(image, ("type", "image_url", "index"))))


def extra_content_of(wire: JSONObject, vendor: str, name: str) -> JSONObject:
    """Return an object's `extra_content` without what a field holds that the hub reads; empty where nothing is left."""
    if not wire.get("extra_content"):
        return {}
    content = object_or_empty(wire["extra_content"])
    of_vendor = rest_of(object_or_empty(content.get(vendor)), (name,))
    left = rest_of(content, (vendor,)) | ({vendor: of_vendor} if of_vendor else {})
    return {"extra_content": left} if left else {}


def decode_call(call: JSONObject, *, call_id: str) -> ToolCallPart | OpaquePart:
    """Translate a call; one of another kind than a function's stays as it came."""
    function = object_or_empty(call.get("function"))
    if call.get("type") not in (None, "function") or not function.get("name"):
        return OpaquePart(FORMAT, call, "tool_calls")
    of_function = {key: value for key, value in rest_of(function, _FUNCTION_KEYS).items() if value is not None}
    extra = passthrough(
        rest_of(call, _CALL_KEYS),
        {"function": of_function} if of_function else {},
        extra_content_of(call, "google", "thought_signature"),
    )
    return ToolCallPart(call_id, function["name"], function["arguments"], find_call_signature(call), extra)


def find_call_signature(call: JSONObject) -> Signature | None:
    signed = object_or_empty(object_or_empty(call.get("extra_content")).get("google"))
    value = text_or_none(signed.get("thought_signature"))
    return Signature(WireFormat.GOOGLE, value) if value else None


def decode_content(content: str | list[JSONObject] | None) -> list[Part]:
    if isinstance(content, str):
        return [TextPart(content)]
    return [decode_part(part) for part in content or ()]


def decode_part(wire: JSONObject) -> Part:
    """Translate a part; one that is told otherwise than the hub knows stays as it came."""
    kind = wire["type"]
    inner = object_or_empty(wire.get(kind))
    match kind:
        case "text":
            return TextPart(wire["text"], extra=passthrough(rest_of(wire, ("type", "text"))))
        case "image_url":
            return ImagePart(inner["url"], inner.get("detail"), _part_extra(wire, inner, ("url", "detail")))
        case "input_audio" if isinstance(inner.get("data"), str) and isinstance(inner.get("format"), str):
            return AudioPart(inner["data"], inner["format"], _part_extra(wire, inner, ("data", "format")))
        case "file" if (file := _find_file(wire, inner)) is not None:
            return file
        case "refusal" if isinstance(wire.get("refusal"), str):
            return RefusalPart(wire["refusal"], passthrough(rest_of(wire, ("type", "refusal"))))
        case _:
            return OpaquePart(FORMAT, wire)


def _part_extra(wire: JSONObject, inner: JSONObject, known: tuple[str, ...]) -> Passthrough | None:
    kind = wire["type"]
    rest = rest_of(inner, known)
    return passthrough(rest_of(wire, ("type", kind)), {kind: rest} if rest else {})


def _find_file(wire: JSONObject, inner: JSONObject) -> FilePart | None:
    """Return a file, None unless it is told by its data alone, or by its id alone."""
    url, file_id, filename = inner.get("file_data"), inner.get("file_id"), inner.get("filename")
    if any(not isinstance(value, str | None) for value in (url, file_id, filename)) or bool(url) == bool(file_id):
        return None
    if url and not url.startswith("data:"):
        return None
    extra = _part_extra(wire, inner, ("file_data", "file_id", "filename"))
    return FilePart(url or "", filename or "", file_id, extra)


def encode_messages(messages: Iterable[ChatMessage]) -> list[JSONObject]:
    """Translate messages; files in results of calls follow in a message of the user, after the last result.

    Errors: UnsupportedRequestError for what cannot be said.
    """
    wire: list[JSONObject] = []
    attached: list[JSONObject] = []
    for message in messages:
        if attached and message.role != "tool":
            wire.append({"role": "user", "content": attached})
            attached = []
        wire += _encode_tool_message(message, attached) if message.role == "tool" else [_encode_message(message)]
    return [*wire, {"role": "user", "content": attached}] if attached else wire


def _encode_message(message: ChatMessage) -> JSONObject:
    if message.role == "assistant":
        return _encode_assistant(message)
    content = _encode_content([part for part in message.parts if not isinstance(part, ReasoningPart)])
    return {"role": message.role, "content": content, **own_fields(message.extra, FORMAT)}


def _encode_assistant(message: ChatMessage) -> JSONObject:
    own, parts = own_fields(message.extra, FORMAT), message.parts
    beside = (ReasoningPart, RefusalPart, ImagePart, ToolCallPart)
    said = [part for part in parts if not isinstance(part, beside) and not _is_opaque_call(part)]
    wire: JSONObject = {"role": "assistant", "content": _encode_content(said) if said else None}
    if thoughts := "".join([part.text for part in parts if isinstance(part, ReasoningPart) and not part.signature]):
        wire["reasoning_content"] = thoughts
    if refusal := "".join([part.text for part in parts if isinstance(part, RefusalPart)]):
        wire["refusal"] = refusal
    if images := [encode_part(part) for part in parts if isinstance(part, ImagePart)]:
        wire["images"] = images
    if calls := [encode_call(part) for part in parts if isinstance(part, ToolCallPart) or _is_opaque_call(part)]:
        wire["tool_calls"] = calls
    return {**wire, **own}


def _is_opaque_call(part: Part) -> bool:
    return isinstance(part, OpaquePart) and part.slot == "tool_calls"


def _encode_tool_message(message: ChatMessage, attached: list[JSONObject]) -> Iterator[JSONObject]:
    for part in message.parts:
        if isinstance(part, ToolResultPart):
            yield {**_encode_result(part, attached), **own_fields(message.extra, FORMAT)}
        elif isinstance(part, OpaquePart) and part.format is FORMAT and part.slot == "messages":
            yield dict(part.wire)
        else:
            raise unsupported_content("content other than results in a message of the role `tool`")


def _encode_result(result: ToolResultPart, attached: list[JSONObject]) -> JSONObject:
    files = [part for part in result.parts if isinstance(part, ImagePart | FilePart | AudioPart)]
    attached += [encode_part(part) for part in files]
    said = [part for part in result.parts if part not in files]
    content = _encode_content(said) if said or not files else ATTACHED
    call_id = {"tool_call_id": result.call_id} if result.call_id else {}
    return {"role": "tool", **call_id, "content": content, **own_fields(result.extra, FORMAT)}


def _encode_content(parts: Sequence[Part]) -> str | list[JSONObject]:
    if len(parts) == 1 and isinstance(parts[0], TextPart) and not own_fields(parts[0].extra, FORMAT):
        return parts[0].text
    return [encode_part(part) for part in parts] if parts else ""


def encode_part(part: Part) -> JSONObject:
    """Errors: UnsupportedRequestError for what cannot be said."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text, **own_fields(part.extra, FORMAT)}
        case ImagePart():
            detail = {} if part.detail is None else {"detail": part.detail}
            return _encode_object("image_url", {"url": normalized_url(part.url), **detail}, part.extra)
        case AudioPart():
            return _encode_object("input_audio", {"data": part.data, "format": part.audio_format}, part.extra)
        case FilePart():
            return _encode_object("file", _file_object(part), part.extra)
        case RefusalPart():
            return {"type": "refusal", "refusal": part.text, **own_fields(part.extra, FORMAT)}
        case OpaquePart() if part.format is FORMAT and part.slot == "content":
            return dict(part.wire)
        case _:
            raise unsupported_content("content that only another format knows")


def _encode_object(kind: str, fields: JSONObject, extra: Passthrough | None) -> JSONObject:
    own = own_fields(extra, FORMAT)
    return {"type": kind, **own, kind: {**fields, **object_or_empty(own.get(kind))}}


def _file_object(part: FilePart) -> JSONObject:
    """Return a file; one from a format that has no names for files gets one, as OpenAI demands it."""
    name = {"filename": part.filename} if part.filename else {}
    if part.file_id:
        return {"file_id": part.file_id, **name}
    if not part.url.startswith("data:"):
        raise unsupported_content("a file that lies elsewhere")
    default = {"filename": DEFAULT_FILENAME} if part.filename is None else {}
    return {**default, **name, "file_data": part.url}


def encode_call(part: Part) -> JSONObject:
    if isinstance(part, OpaquePart) and part.format is FORMAT:
        return dict(part.wire)
    if not isinstance(part, ToolCallPart):
        raise unsupported_content("a tool call that only another format knows")
    own = own_fields(part.extra, FORMAT)
    function = {"name": part.name, "arguments": part.arguments or "{}", **object_or_empty(own.get("function"))}
    return {**own, "id": part.id, "type": "function", "function": function, **encode_call_signature(part)}


def encode_call_signature(part: ToolCallPart) -> JSONObject:
    """Return the field that holds a call's signature, beside what else a caller or a provider put there."""
    if part.signature is None or part.signature.format is not WireFormat.GOOGLE:
        return {}
    beside = object_or_empty(own_fields(part.extra, FORMAT).get("extra_content"))
    signed = {**object_or_empty(beside.get("google")), "thought_signature": part.signature.value}
    return {"extra_content": {**beside, "google": signed}}


def unsupported_content(what: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"The hub cannot send {what} to {TARGET}.", param="messages")
