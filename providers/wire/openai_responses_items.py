"""The items of the Responses API, which are its input and its output, and the settings that an answer repeats."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from providers.errors import UnsupportedRequestError
from providers.types import (
    AudioPart,
    ChatMessage,
    FilePart,
    ImagePart,
    JSONObject,
    OpaquePart,
    OpaqueTool,
    OutputFormat,
    Part,
    Passthrough,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    Role,
    Signature,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    WireFormat,
)
from providers.wire.codec import ReplyHead
from providers.wire.data_urls import InlineData, find_inline_data, parse_data_url
from providers.wire.efforts import effort_of_budget
from providers.wire.foreign import NOTHING, own_fields, unsupported
from providers.wire.json_access import (
    find_text,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)

FORMAT = WireFormat.OPENAI_RESPONSES
TARGET = "OpenAI's Responses API"
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
TYPED = frozenset(
    {
        "input", "instructions", "max_output_tokens", "model", "parallel_tool_calls", "stream", "temperature",
        "tools", "top_logprobs", "top_p", "user",
    }
)  # fmt: skip
_CALL_KEYS = frozenset({"arguments", "call_id", "extra_content", "id", "name", "parsed_arguments", "status", "type"})
_ITEM_SLOTS = ("input", "output")


def rest_of(wire: Mapping[str, Any], known: Iterable[str]) -> Passthrough | None:
    """Return what an object holds beyond the known keys, what is empty left out."""
    rest = {key: value for key, value in wire.items() if key not in known and value not in (None, [], {})}
    return Passthrough(FORMAT, rest) if rest else None


def decode_contents(value: str | list[JSONObject]) -> list[Part]:
    return [TextPart(value)] if isinstance(value, str) else [_decode_content(part) for part in value]


def _decode_content(part: JSONObject) -> Part:
    """Translate a part; an image or a file that lies at the provider, or is told otherwise than by a URL, stays."""
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return TextPart(find_text(part, "text") or "", extra=rest_of(part, {"parsed", "type", "text"}))
        case "refusal":
            return RefusalPart(part["refusal"], rest_of(part, {"type", "refusal"}))
        case "input_image" if part.get("image_url"):
            return ImagePart(part["image_url"], part.get("detail"), rest_of(part, {"type", "image_url", "detail"}))
        case "input_file":
            return _decode_file(part)
        case "input_audio":
            sound = part["input_audio"]
            return AudioPart(sound["data"], sound["format"], rest_of(part, {"type", "input_audio"}))
        case _:
            return OpaquePart(FORMAT, part)


def _decode_file(part: JSONObject) -> FilePart | OpaquePart:
    url = part.get("file_data") or part.get("file_url") or ""
    is_plain = not part.get("file_data") or url.startswith("data:")
    if not is_plain or not (url or part.get("file_id")):
        return OpaquePart(FORMAT, part)
    rest = rest_of(part, {"type", "file_data", "file_url", "file_id", "filename"})
    return FilePart(url, part.get("filename"), part.get("file_id"), rest)


def passed_on(extra: Passthrough | None, *, stream: bool) -> JSONObject:
    """Return the fields of a request's passthrough that go out in this format."""
    if extra is not None and extra.format is WireFormat.OPENAI_CHAT:
        return {key: value for key, value in extra.fields.items() if key in SHARED_WITH_CHAT}
    return {key: value for key, value in own_fields(extra, FORMAT).items() if stream or key != "stream_options"}


def split_instructions(messages: Sequence[ChatMessage]) -> tuple[str | None, Sequence[ChatMessage]]:
    """Return the first message as instructions where it is plain text of the system."""
    if len(messages) < 2 or messages[0].role != "system" or messages[0].extra:
        return None, messages
    [*parts] = messages[0].parts
    if len(parts) != 1 or not isinstance(parts[0], TextPart) or parts[0].extra or not parts[0].text:
        return None, messages
    return parts[0].text, messages[1:]


def encode_tool(tool: Tool | OpaqueTool) -> JSONObject:
    """Translate a tool; unless asked otherwise, calls need not keep to its schema, as in every other format."""
    if isinstance(tool, OpaqueTool):
        if tool.format is not FORMAT:
            raise unsupported("tools", TARGET)
        return dict(tool.wire)
    wire: JSONObject = {**own_fields(tool.extra, FORMAT), "type": "function", "name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    return wire | {"parameters": tool.parameters, "strict": tool.strict or False}


def encode_tool_choice(choice: ToolChoice) -> str | JSONObject:
    return {"type": "function", "name": choice.name} if choice.mode == "tool" else choice.mode


def find_effort(reasoning: Reasoning | None) -> str | None:
    if reasoning is None:
        return None
    if reasoning.effort is None and reasoning.budget_tokens is not None:
        return effort_of_budget(reasoning.budget_tokens)
    return reasoning.effort


def encode_text_format(format_: OutputFormat) -> JSONObject:
    if format_.kind != "json_schema":
        return {"type": format_.kind}
    fields = {"schema": format_.schema, "description": format_.description, "strict": format_.strict}
    told = {key: value for key, value in fields.items() if value is not None}
    return {"type": "json_schema", "name": format_.name or "response", **told}


def encode_items(messages: Iterable[ChatMessage]) -> list[JSONObject]:
    return [item for message in messages for item in _encode_message(message)]


def _encode_message(message: ChatMessage) -> Iterator[JSONObject]:
    """Yield a message as items: its texts and files as one between those that stand for themselves."""
    content: list[JSONObject] = []
    phase: Any = None
    for part in message.parts:
        if _says_nothing(part, message.role):
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


def _says_nothing(part: Part, role: Role) -> bool:
    """Whether a part is left out: thoughts of other models, and an empty text of the assistant."""
    if isinstance(part, ReasoningPart):
        return part.signature is None or part.signature.format is not FORMAT
    return isinstance(part, TextPart) and role == "assistant" and not part.text


def _find_item(part: Part, role: Role) -> JSONObject | None:
    """Return the item that a part is by itself, None for one that is content of a message."""
    match part:
        case ReasoningPart():
            return reasoning_item(part, part.id)
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
    return wire | {"filename": part.filename} if part.filename else wire


def decode_output_item(item: JSONObject, slot: str) -> Part:
    """Translate an item other than a message, whose parts are several."""
    match item.get("type"):
        case "function_call":
            return decode_call(item)
        case "reasoning":
            return _decode_reasoning(item)
        case "image_generation_call" if isinstance(item.get("result"), str) and item["result"]:
            media_type = f"image/{text_or_none(item.get('output_format')) or 'png'}"
            return ImagePart(InlineData(media_type, item["result"]).url)
        case _:
            return OpaquePart(FORMAT, item, slot)


def decode_output_message(item: JSONObject) -> list[Part]:
    """Translate a message; its phase stands with its parts, as a turn may hold messages of several."""
    parts = decode_contents(item["content"])
    phase = item.get("phase")
    if phase is None:
        return parts
    return [with_field(part, "phase", phase) for part in parts]


def with_field(part: Part, name: str, value: Any) -> Part:
    if not isinstance(part, TextPart | RefusalPart):
        return part
    fields = part.extra.fields if part.extra else NOTHING
    return replace(part, extra=Passthrough(FORMAT, {**fields, name: value}))


def decode_call(item: JSONObject) -> ToolCallPart:
    google = object_or_empty(object_or_empty(item.get("extra_content")).get("google"))
    value = text_or_none(google.get("thought_signature"))
    return ToolCallPart(
        text_or_none(item.get("call_id")) or text_at(item, "id"),
        text_at(item, "name"),
        text_or_none(item.get("arguments")) or "{}",
        Signature(WireFormat.GOOGLE, value) if value else None,
        rest_of(item, _CALL_KEYS),
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


def reasoning_item(part: ReasoningPart, id_: str | None) -> JSONObject:
    item: JSONObject = {"type": "reasoning"} if id_ is None else {"id": id_, "type": "reasoning"}
    item["summary"] = [{"type": "summary_text", "text": part.text}] if part.text else []
    item["encrypted_content"] = _encode_signature(part)
    return item


def _image_item(part: ImagePart, id_: str) -> JSONObject | None:
    """Return an image of the answer as OpenAI's own image tool sends it, None for one that lies elsewhere."""
    inline = parse_data_url(part.url)
    if inline is None:
        return None
    return {
        "id": id_,
        "type": "image_generation_call",
        "status": "completed",
        "output_format": inline.media_type.removeprefix("image/"),
        "result": inline.data,
    }


def item_id(prefix: str, head: ReplyHead, index: int) -> str:
    return f"{prefix}_{head.id.removeprefix('resp_')}_{index}"


def is_content(part: Part) -> bool:
    """Whether a part of an answer stands within a message; an image that lies elsewhere has no item of its own."""
    return isinstance(part, TextPart | RefusalPart | FilePart | AudioPart) or (
        isinstance(part, ImagePart) and parse_data_url(part.url) is None
    )


def phase_of(part: Part) -> Any:
    return own_fields(getattr(part, "extra", None), FORMAT).get("phase")


def message_object(id_: str, phase: Any, status: str = "completed") -> JSONObject:
    item = {"id": id_, "type": "message", "status": status, "role": "assistant", "content": []}
    return item if phase is None else item | {"phase": phase}


def answer_content(part: Part) -> JSONObject:
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


def find_answer_item(part: Part, head: ReplyHead, index: int) -> JSONObject | None:
    """Return the item that a part of an answer is, None for one that only another format knows."""
    match part:
        case ReasoningPart():
            return reasoning_item(part, part.id or item_id("rs", head, index))
        case ToolCallPart():
            return call_object(part, item_id("fc", head, index), status="completed", arguments=part.arguments)
        case ImagePart():
            return _image_item(part, item_id("ig", head, index))
        case OpaquePart() if part.format is FORMAT:
            return {"id": item_id("it", head, index), **part.wire}
    return None


def call_object(part: ToolCallPart, id_: str, *, status: str, arguments: str) -> JSONObject:
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
