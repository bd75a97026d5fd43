"""Messages of a conversation, prepared for display."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from providers.types import JSONObject

MAX_SHOWN_CHARS = 20_000
MAX_INLINE_CHARS = 3_000
MAX_MESSAGES = 200
MAX_PRETTY_CHARS = 1_000_000

ROLES = {
    "system": ("System", "settings"),
    "developer": ("Developer", "settings"),
    "user": ("User", "person"),
    "assistant": ("Assistant", "smart_toy"),
    "tool": ("Tool", "build"),
    "function": ("Tool", "build"),
    "request": ("Request", "data_object"),
}


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A part of a message. Shape: `kind` is text, code or file; `title` names anything but plain text."""

    kind: str
    text: str
    title: str = ""

    @property
    def visible_text(self) -> str:
        return self.text[:MAX_SHOWN_CHARS]

    @property
    def chars(self) -> int:
        return len(self.text)

    @property
    def is_long(self) -> bool:
        """Whether it gets a scrolling box of its own."""
        return self.chars > MAX_INLINE_CHARS

    @property
    def is_cut(self) -> bool:
        return self.chars > MAX_SHOWN_CHARS


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """One message. Shape: `role` is one of ROLES or `other`; `icon` is a Material Symbol."""

    role: str
    name: str
    icon: str
    parts: tuple[ShownPart, ...]


def shown_messages(messages: Iterable[JSONObject]) -> list[ShownMessage]:
    return [_message(message) for message in messages]


def _message(message: JSONObject) -> ShownMessage:
    raw_role = message.get("role")
    role = raw_role if isinstance(raw_role, str) and raw_role in ROLES else "other"
    name, icon = ROLES.get(role, (str(raw_role or "Unknown role"), "help"))
    return ShownMessage(role=role, name=name, icon=icon, parts=tuple(_parts(message)))


def _parts(message: JSONObject) -> Iterator[ShownPart]:
    if isinstance(message.get("reasoning_content"), str) and message["reasoning_content"]:
        yield ShownPart("text", message["reasoning_content"], "Reasoning")
    title = f"Result of call {message['tool_call_id']}" if message.get("tool_call_id") else ""
    content = message.get("content")
    for item in content if isinstance(content, list) else [content]:
        if item is not None and item != "":
            yield _content_part(item, title=title)
    if message.get("refusal"):
        yield ShownPart("text", _text(message["refusal"]), "Refusal")
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        yield _call_part(call)


def _content_part(item: Any, *, title: str) -> ShownPart:
    if isinstance(item, str):
        pretty = pretty_json(item) if title else None
        return ShownPart("code", pretty, title) if pretty else ShownPart("text", item, title)
    if isinstance(item, dict):
        if isinstance(item.get("text"), str):
            return ShownPart("text", item["text"], title)
        for kind, describe in _FILES.items():
            if isinstance(item.get(kind), dict):
                return ShownPart("file", *describe(item[kind]))
    return ShownPart("code", _text(item), title or "Unknown content")


def _image(image: JSONObject) -> tuple[str, str]:
    return _file_text(image.get("url")), "Image"


def _audio(audio: JSONObject) -> tuple[str, str]:
    return _file_text(audio.get("data")), "Audio"


def _file(file: JSONObject) -> tuple[str, str]:
    prefix = f"{file['filename']}: " if isinstance(file.get("filename"), str) else ""
    return prefix + _file_text(file.get("file_data") or file.get("file_id") or file.get("file_url")), "File"


_FILES = {"image_url": _image, "input_audio": _audio, "file": _file}


def _file_text(file: Any) -> str:
    """Describe a file: the record holds either its description or its URL."""
    if isinstance(file, dict) and isinstance(file.get("bytes"), int):
        kind = file.get("media_type") or "unknown type"
        return f"{kind}, {file['bytes']:,} bytes, not stored; SHA-256 {file.get('sha256')}"
    return file if isinstance(file, str) else _text(file)


def _call_part(call: Any) -> ShownPart:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return ShownPart("code", _text(call), "Tool call")
    arguments = function.get("arguments")
    text = (pretty_json(arguments) or arguments) if isinstance(arguments, str) else _text(arguments)
    return ShownPart("code", text, f"Calls {function.get('name')} ({call.get('id', 'no id')})")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def pretty_json(text: str) -> str | None:
    """Pretty-print a JSON object or array; return None for anything else, and for text that is too long."""
    if len(text) > MAX_PRETTY_CHARS or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return None
