"""Mistral's chat completions: OpenAI's format, but unknown fields are refused wherever they stand.

Source: https://docs.mistral.ai/api, its error glossary and mistralai 3.7.0, read 2026-11; the order of roles from
https://github.com/mistralai/mistral-common, `protocol/instruct/validator.py`.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from providers.errors import UnsupportedRequestError
from providers.types import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    FilePart,
    JSONObject,
    OpaquePart,
    OpaqueTool,
    Part,
    ReasoningPart,
    ToolCallPart,
    ToolResultPart,
    WireFormat,
)
from providers.wire import openai_chat
from providers.wire.codec import EncodedRequest, ReplyHead
from providers.wire.foreign import unsupported
from providers.wire.json_access import object_or_empty, objects_or_empty
from providers.wire.openai_chat import ChatStreamDecoder, ChatStreamEncoder, decode_error, decode_reply
from providers.wire.openai_chat_answers import arguments_text

__all__ = [
    "MistralStreamDecoder",
    "MistralStreamEncoder",
    "decode_error",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
]

TARGET = "providers of type mistral"
KNOWN_PARAMS = frozenset(
    {
        "frequency_penalty", "guardrails", "logprobs", "max_tokens", "messages", "metadata", "min_tokens", "model",
        "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key", "prompt_logprobs",
        "prompt_mode", "random_seed", "reasoning_effort", "repetition_penalty", "response_format", "safe_prompt",
        "service_tier", "stop", "temperature", "tool_choice", "tools", "top_k", "top_logprobs", "top_p",
    }
)  # fmt: skip
KNOWN_FUNCTION_KEYS = frozenset({"name", "description", "parameters", "strict"})
NO_PARAMETERS: JSONObject = {"type": "object", "properties": {}}
KNOWN_MESSAGE_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id"})
KNOWN_PART_KEYS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "image_url": frozenset({"type", "image_url"}),
}
KNOWN_IMAGE_KEYS = frozenset({"url", "detail"})
# The current models take no other effort.
EFFORTS: Mapping[str, str] = {"none": "none", "minimal": "none"}
FILLER = "OK."
"""What the assistant says between a tool's answer and the user's next turn, which must not touch."""

_RENAMED = {"seed": "random_seed"}
_CHANGEABLE = ("temperature", "reasoning_effort")
_TOOL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_ID_LETTERS = string.digits + string.ascii_letters


def encode_request(request: ChatRequest, *, stream: bool) -> EncodedRequest:
    """Translate a request.

    Errors: UnsupportedRequestError for what would make another request of it.
    """
    if any(isinstance(tool, OpaqueTool) for tool in request.tools):
        raise unsupported("tools", TARGET)
    with_documents = replace(request, messages=tuple([_with_documents(message) for message in request.messages]))
    asked = openai_chat.encode_request(with_documents, stream=False, length_param="max_tokens")
    dropped = set(asked.dropped_params)
    body = {_RENAMED.get(name, name): value for name, value in asked.body.items()}
    if "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    dropped |= body.keys() - KNOWN_PARAMS
    body = {name: value for name, value in body.items() if name in KNOWN_PARAMS}
    body["messages"] = _encode_messages(body["messages"], dropped)
    dropped |= _fit(body)
    if stream:
        body["stream"] = True
    return EncodedRequest(body, tuple(sorted(dropped)))


def _fit(body: JSONObject) -> set[str]:
    """Bring values into the range that the API takes; return the names of those that were changed."""
    before = {name: body[name] for name in _CHANGEABLE if name in body}
    if "temperature" in body:
        body["temperature"] = min(max(body["temperature"], 0.0), 1.0)
    if "reasoning_effort" in body:
        body["reasoning_effort"] = EFFORTS.get(body["reasoning_effort"], "high")
    if body.get("tool_choice") == "required":
        body["tool_choice"] = "any"
    if "tools" in body:
        body["tools"] = [{"type": "function", "function": _known_function(tool)} for tool in body["tools"]]
    return {name for name, value in before.items() if body[name] != value}


def _known_function(tool: JSONObject) -> JSONObject:
    """Return what the API knows of a function; one without parameters has to say so."""
    known = {key: value for key, value in tool["function"].items() if key in KNOWN_FUNCTION_KEYS}
    return {**known, "parameters": known.get("parameters", NO_PARAMETERS)}


def _with_documents(message: ChatMessage) -> ChatMessage:
    """Return the message with its files as this API has them."""
    if not any(isinstance(part, FilePart | ToolResultPart) for part in message.parts):
        return message
    return ChatMessage(message.role, [_with_document(part) for part in message.parts], extra=message.extra)


def _with_document(part: Part) -> Part:
    if isinstance(part, ToolResultPart):
        return replace(part, parts=tuple([_with_document(inner) for inner in part.parts]))
    if not isinstance(part, FilePart):
        return part
    name = {"document_name": part.filename} if part.filename else {}
    wire = {"type": "document_url", "document_url": part.url, **name}
    return OpaquePart(WireFormat.OPENAI_CHAT, wire if part.url else {"type": "file", "file_id": part.file_id})


def _encode_messages(messages: Iterable[JSONObject], dropped: set[str]) -> list[JSONObject]:
    """Bring messages into the order that the API takes; add the names of what is left out of them to `dropped`."""
    wire = [_encode_message(message, dropped) for message in messages]
    wire = [message for message in wire if message["role"] != "assistant" or _says_something(message)]
    _move_instructions(wire)
    gaps = [i for i, (one, two) in enumerate(pairwise(wire), 1) if (one["role"], two["role"]) == ("tool", "user")]
    for i in reversed(gaps):
        wire.insert(i, {"role": "assistant", "content": FILLER})
    if wire and wire[-1]["role"] == "assistant":
        wire[-1]["prefix"] = True
    return wire


def _says_something(message: JSONObject) -> bool:
    content = message["content"]
    return bool(content.strip() if isinstance(content, str) else content) or "tool_calls" in message


def _move_instructions(wire: list[JSONObject]) -> None:
    """Let the user say what no instruction may: one cannot follow the model or a tool, nor be the last message."""
    for number, message in enumerate(wire):
        if message["role"] == "system" and number > 0:
            is_last = number == len(wire) - 1 and any(one["role"] == "user" for one in wire)
            if is_last or wire[number - 1]["role"] in ("assistant", "tool"):
                message["role"] = "user"


def _encode_message(message: JSONObject, dropped: set[str]) -> JSONObject:
    if message["role"] not in ("assistant", "developer", "system", "tool", "user"):
        raise _unsupported_messages("results of functions in the form that came before tools")
    known = {key: value for key, value in message.items() if key in KNOWN_MESSAGE_KEYS}
    known["role"] = "system" if message["role"] == "developer" else message["role"]
    known["content"] = _encode_content(message.get("content") or message.get("refusal") or "", dropped)
    if "tool_calls" in known:
        known["tool_calls"] = [_encode_call(call) for call in known["tool_calls"]]
    if "tool_call_id" in known:
        known["tool_call_id"] = mistral_call_id(known["tool_call_id"])
    lost = message.keys() - known.keys() - {"refusal"}
    dropped.update(f"messages.{key}" for key in lost if message[key])
    return known


def _encode_content(content: str | list[JSONObject], dropped: set[str]) -> str | list[JSONObject]:
    if isinstance(content, str):
        return content
    return [_encode_part(part, dropped) for part in content]


def _encode_part(part: JSONObject, dropped: set[str]) -> JSONObject:
    """Return a part; of a kind that OpenAI has too, what this API knows of it."""
    known = KNOWN_PART_KEYS.get(part["type"])
    if known is None:
        return part
    wire = {key: value for key, value in part.items() if key in known}
    dropped.update(f"messages.{key}" for key in part.keys() - known)
    if "image_url" in wire:
        image = wire["image_url"]
        wire["image_url"] = {key: value for key, value in image.items() if key in KNOWN_IMAGE_KEYS}
        dropped.update(f"messages.{key}" for key in image.keys() - KNOWN_IMAGE_KEYS)
    return wire


def _encode_call(call: JSONObject) -> JSONObject:
    if call.get("type") != "function":
        raise _unsupported_messages("tool calls other than of functions")
    function = {key: call["function"][key] for key in ("name", "arguments")}
    return {"id": mistral_call_id(call["id"]), "type": "function", "function": function}


def _unsupported_messages(what: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"The hub cannot send {what} to {TARGET}.", param="messages")


def mistral_call_id(id_: str) -> str:
    """Return the id in the form that Mistral demands: its own unchanged, any other always the same nine letters."""
    if _TOOL_CALL_ID.fullmatch(id_):
        return id_
    digest = hashlib.sha256(id_.encode()).digest()
    return "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in digest[:9])


def decode_request(body: JSONObject) -> ChatRequest:
    """Errors: BadRequestError with the field's path."""
    names = {new: old for old, new in _RENAMED.items()}
    renamed = {names.get(name, name): value for name, value in body.items()}
    if isinstance(body.get("messages"), list):
        renamed["messages"] = [_openai_message(one) if isinstance(one, dict) else one for one in body["messages"]]
    return openai_chat.decode_request(renamed)


def _openai_message(message: JSONObject) -> JSONObject:
    """Return the message as OpenAI has it: images and arguments may be said here in two ways."""
    wire = {key: value for key, value in message.items() if key != "prefix"}
    if isinstance(content := message.get("content"), list):
        wire["content"] = [
            {**part, "image_url": {"url": part["image_url"]}} if isinstance(part.get("image_url"), str) else part
            for part in content
        ]
    if calls := objects_or_empty(message.get("tool_calls")):
        wire["tool_calls"] = [{"type": "function", **call, "function": _openai_function(call)} for call in calls]
    return wire


def _openai_function(call: JSONObject) -> JSONObject:
    function = object_or_empty(call.get("function"))
    return {**function, "arguments": arguments_text(function)}


def encode_reply(response: ChatResponse, head: ReplyHead) -> JSONObject:
    body = openai_chat.encode_reply(response, head)
    for choice, wire in zip(response.choices, body["choices"], strict=True):
        wire["message"] = _mistral_message(wire["message"], choice)
    return body


def _mistral_message(message: JSONObject, choice: Choice) -> JSONObject:
    """Return an answer's message with its thoughts in the content, as a part of it."""
    message.pop("refusal", None)
    thoughts = message.pop("reasoning_content", None)
    if thoughts:
        text = [{"type": "text", "text": message["content"]}] if message["content"] else []
        message["content"] = [_thinking(thoughts) | {"closed": True}, *text]
    elif any(isinstance(part, ToolCallPart) for part in choice.parts):
        message["content"] = message["content"] or ""
    return message


def _thinking(text: str) -> JSONObject:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


class MistralStreamDecoder(ChatStreamDecoder):
    """Reads thoughts where they stand here, in a list of parts, which some servers of OpenAI's format send as well."""


class MistralStreamEncoder(ChatStreamEncoder):
    """Renders thoughts as parts of the content, and the usage unasked."""

    def __init__(self, head: ReplyHead) -> None:
        super().__init__(head, wants_usage=True)

    def _text_fields(self, place: tuple[int, int], text: str) -> JSONObject:
        if isinstance(self._parts[place], ReasoningPart):
            return {"content": [_thinking(text)]}
        return super()._text_fields(place, text)
