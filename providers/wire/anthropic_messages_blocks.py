"""The blocks of Anthropic's Messages API, of which messages and answers are made."""

from __future__ import annotations

import base64
import binascii
import re
from hashlib import sha256
from typing import Any

import orjson

from providers.errors import RequestRejectedError, UnsupportedRequestError
from providers.types import (
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
from providers.wire.data_urls import InlineData, find_inline_data
from providers.wire.foreign import own_fields
from providers.wire.json_access import find_text, label_or_none, object_at, objects_at, text_at, text_or_none
from providers.wire.rendering import compact_json

FORMAT = WireFormat.ANTHROPIC_MESSAGES
TARGET = "providers of type anthropic"
INNER_TYPES = frozenset({"text", "image", "document"})
"""Blocks in the result of a tool that have a meaning in other formats."""

_FOREIGN_ID_MARK = re.compile(r"[^A-Za-z0-9_-]")


def unsupported_content(what: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"The hub cannot send {what} to {TARGET}.", param="messages")


def encode_instruction(message: ChatMessage) -> list[JSONObject]:
    """Errors: UnsupportedRequestError for other than text."""
    for part in message.parts:
        if not isinstance(part, TextPart):
            raise unsupported_content(f"content other than text in a message of the role `{message.role}`")
    return [block for part in message.parts if (block := encode_text(part)) is not None]


def encode_text(part: Part) -> JSONObject | None:
    """Return the block of a text, None for a blank one, which is refused."""
    if not isinstance(part, TextPart | RefusalPart) or not part.text.strip():
        return None
    return {"type": "text", "text": part.text, **own_fields(part.extra, FORMAT)}


def encode_assistant_part(part: Part) -> JSONObject | None:
    """Return a part of the assistant's turn, None for what says nothing here: blank text, thoughts of other models.

    Errors: UnsupportedRequestError.
    """
    match part:
        case TextPart() | RefusalPart():
            return encode_text(part)
        case ReasoningPart():
            return encode_own_thought(part)
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
            raise unsupported_content("images or files in a message of the role `assistant`")
        case _:
            raise unsupported_content("content that only another format knows")


def encode_own_thought(part: ReasoningPart) -> JSONObject | None:
    if part.signature is None or part.signature.format is not FORMAT:
        return None
    if part.is_redacted:
        return {"type": "redacted_thinking", "data": part.signature.value}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature.value}


def encode_user_part(part: Part) -> JSONObject | None:
    """Errors: UnsupportedRequestError, RequestRejectedError."""
    match part:
        case TextPart() | RefusalPart():
            return encode_text(part)
        case ImagePart():
            return {"type": "image", "source": image_source(part.url), **own_fields(part.extra, FORMAT)}
        case FilePart():
            return encode_file(part)
        case ToolResultPart():
            return _encode_result(part)
        case OpaquePart() if part.format is FORMAT:
            return dict(part.wire)
        case _:
            raise unsupported_content("content that only another format knows")


def image_source(url: str) -> JSONObject:
    inline = find_inline_data(url, what="image")
    if inline is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": inline.media_type, "data": inline.data}


def encode_file(part: FilePart) -> JSONObject:
    if not part.url:
        raise unsupported_content("a file that lies at another provider")
    inline = find_inline_data(part.url, what="file")
    if inline is not None and inline.media_type.startswith("image/"):
        return {"type": "image", "source": image_source(part.url)}
    title = {"title": part.filename} if part.filename else {}
    return {"type": "document", "source": _document_source(part.url, inline), **title, **own_fields(part.extra, FORMAT)}


def _document_source(url: str, inline: InlineData | None) -> JSONObject:
    if inline is None:
        return {"type": "url", "url": url}
    if inline.media_type == "application/pdf":
        return {"type": "base64", "media_type": inline.media_type, "data": inline.data}
    if not inline.media_type.startswith("text/"):
        raise unsupported_content("files other than PDF and text")
    try:
        text = base64.b64decode(inline.data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise RequestRejectedError("A text file must be base64 of UTF-8.", param="messages") from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _encode_result(result: ToolResultPart) -> JSONObject:
    blocks = [block for part in result.parts if (block := encode_user_part(part)) is not None]
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
    arguments = find_object(call.arguments or "{}")
    if arguments is None:
        raise unsupported_content("a tool call whose arguments are no JSON object")
    return arguments


def find_object(text: str) -> JSONObject | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def rest_of(wire: JSONObject, *known: str) -> Passthrough | None:
    """Return what an object says beside the fields known."""
    rest = {key: value for key, value in wire.items() if key not in known and value is not None}
    return Passthrough(FORMAT, rest) if rest else None


def decode_block(block: JSONObject) -> Part:
    """Translate a block, one that nobody else knows as it is.

    Errors: MalformedReplyError, in an answer; requests have been checked.
    """
    match block.get("type"):
        case "text":
            return TextPart(find_text(block, "text") or "", extra=rest_of(block, "type", "text"))
        case "image" | "document":
            return _decode_source(block)
        case "thinking":
            return ReasoningPart(find_text(block, "thinking") or "", signature_of(block.get("signature")))
        case "redacted_thinking":
            return ReasoningPart("", signature_of(block.get("data")), is_redacted=True)
        case "tool_use":
            return _decode_call(block)
        case "tool_result" if isinstance(block.get("tool_use_id"), str):
            return _decode_result(block)
        case _:
            return OpaquePart(FORMAT, block)


def signature_of(value: Any) -> Signature | None:
    return Signature(FORMAT, value) if value and isinstance(value, str) else None


def _decode_call(block: JSONObject) -> ToolCallPart:
    arguments = compact_json(object_at(block, "input"))
    extra = rest_of(block, "type", "id", "name", "input")
    return ToolCallPart(call_id(block), text_at(block, "name"), arguments, extra=extra)


def call_id(block: JSONObject) -> str:
    """Errors: MalformedReplyError where a call has none, as its result could not be told from others."""
    return label_or_none(block.get("id")) or text_at(block, "id")


def _decode_result(block: JSONObject) -> ToolResultPart:
    content = block.get("content")
    if isinstance(content, str):
        parts: tuple[Part, ...] = (TextPart(content),)
    else:
        parts = tuple([_decode_inner(inner) for inner in objects_at(block, "content")])
    extra = rest_of(block, "type", "tool_use_id", "content", "is_error")
    return ToolResultPart(block["tool_use_id"], parts, block.get("is_error") is True, extra)


def _decode_inner(block: JSONObject) -> Part:
    return decode_block(block) if block.get("type") in INNER_TYPES else OpaquePart(FORMAT, block)


def _decode_source(block: JSONObject) -> Part:
    """Translate an image or a document; one that lies at Anthropic stays as it is."""
    source = object_at(block, "source")
    url = _url_of(source)
    if url is None:
        return OpaquePart(FORMAT, block)
    if block["type"] == "image":
        return ImagePart(url, extra=rest_of(block, "type", "source"))
    return FilePart(url, text_or_none(block.get("title")), extra=rest_of(block, "type", "source", "title"))


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
