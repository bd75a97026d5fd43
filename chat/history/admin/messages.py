"""The turns of a conversation as a reader is shown them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from providers.types import JSONObject

MAX_SHOWN_CHARS = 20_000
MAX_FLOWING_CHARS = 3_000
MAX_SHOWN_TURNS = 200
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
    """A piece of a turn. Shape: `kind` is text, code or file; `title` says what it is where that is not plain text."""

    kind: str
    text: str
    title: str = ""

    @property
    def shown(self) -> str:
        return self.text[:MAX_SHOWN_CHARS]

    @property
    def chars(self) -> int:
        return len(self.text)

    @property
    def is_long(self) -> bool:
        """Whether it is shown in a box of its own that scrolls."""
        return self.chars > MAX_FLOWING_CHARS

    @property
    def is_cut(self) -> bool:
        return self.chars > MAX_SHOWN_CHARS


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """What one side said. Shape: `role` is one of ROLES or `other`, `icon` a Material Symbol."""

    role: str
    name: str
    icon: str
    parts: tuple[ShownPart, ...]


def shown_turns(turns: Iterable[JSONObject]) -> list[ShownMessage]:
    return [_turn(turn) for turn in turns]


def _turn(turn: JSONObject) -> ShownMessage:
    said = turn.get("role")
    role = said if isinstance(said, str) and said in ROLES else "other"
    name, icon = ROLES.get(role, (str(said or "Unknown role"), "help"))
    return ShownMessage(role=role, name=name, icon=icon, parts=tuple(_parts(turn)))


def _parts(turn: JSONObject) -> Iterator[ShownPart]:
    if isinstance(turn.get("reasoning_content"), str) and turn["reasoning_content"]:
        yield ShownPart("text", turn["reasoning_content"], "Reasoning")
    result_of = f"Result of call {turn['tool_call_id']}" if turn.get("tool_call_id") else ""
    content = turn.get("content")
    for piece in content if isinstance(content, list) else [content]:
        if piece is not None and piece != "":
            yield _content_part(piece, title=result_of)
    if turn.get("refusal"):
        yield ShownPart("text", _text(turn["refusal"]), "Refusal")
    calls = turn.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        yield _call_part(call)


def _content_part(piece: Any, *, title: str) -> ShownPart:
    if isinstance(piece, str):
        pretty = pretty_json(piece) if title else None
        return ShownPart("code", pretty, title) if pretty else ShownPart("text", piece, title)
    if isinstance(piece, dict):
        if isinstance(piece.get("text"), str):
            return ShownPart("text", piece["text"], title)
        for kind, describe in _FILES.items():
            if isinstance(piece.get(kind), dict):
                return ShownPart("file", *describe(piece[kind]))
    return ShownPart("code", _text(piece), title or "Content of another kind")


def _image(image: JSONObject) -> tuple[str, str]:
    return _stored(image.get("url")), "Image"


def _audio(audio: JSONObject) -> tuple[str, str]:
    return _stored(audio.get("data")), "Audio"


def _file(file: JSONObject) -> tuple[str, str]:
    named = f"{file['filename']}: " if isinstance(file.get("filename"), str) else ""
    return named + _stored(file.get("file_data") or file.get("file_id") or file.get("file_url")), "File"


_FILES = {"image_url": _image, "input_audio": _audio, "file": _file}


def _stored(file: Any) -> str:
    """Say what is known of a file: the record holds its description, or the address it was to be fetched from."""
    if isinstance(file, dict) and isinstance(file.get("bytes"), int):
        kind = file.get("media_type") or "unknown type"
        return f"{kind}, {file['bytes']:,} bytes, not kept; SHA-256 {file.get('sha256')}"
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
    """Return an object or an array laid out to be read; None for anything else, and for what is too long to lay out."""
    if len(text) > MAX_PRETTY_CHARS or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return None
