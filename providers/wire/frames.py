"""The JSON that providers send, read so that nothing of it is lost: what cannot be read at all is an error.

A character beyond the first 65,536 may come as two escapes, `\\ud83d\\ude00`, and some servers cut texts between them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import orjson

from llmhub.http.json_bounds import find_excess
from providers.bounds import MAX_JSON_VALUES
from providers.errors import AnswerTooLargeError, MalformedReplyError
from providers.types import (
    ChoiceFinished,
    Delta,
    JSONObject,
    PartDelta,
    PartStarted,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from providers.wire.codec import StreamDecoder

SURELY_SHALLOW = 100
"""So many opening brackets cannot be nested too deeply."""

LONE_HALF = "\ufffd"


def load_json(content: bytes) -> Any:
    """Return what a provider's JSON holds; half a character becomes U+FFFD.

    Errors: MalformedReplyError; AnswerTooLargeError for more items than are worth their memory.
    """
    value = _load(content)
    return without_halves(value) if has_halves(content) else value


def load_frame(data: bytes) -> JSONObject:
    """Return the object of a frame, which some gateways wrap in a list of one; halves of characters stay in its texts.

    Errors: as `load_json`; MalformedReplyError unless it is an object.
    """
    value = _load(data)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise MalformedReplyError("The provider sent a frame that is not a JSON object.")
    return value


def _load(content: bytes) -> Any:
    if len(content) > MAX_JSON_VALUES and find_excess(content, max_values=MAX_JSON_VALUES):
        raise AnswerTooLargeError(f"The provider sent JSON of more than {MAX_JSON_VALUES} values.")
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = _load_liberally(content)
    if content.count(b"{") + content.count(b"[") > SURELY_SHALLOW:
        _check_depth(value)
    return value


def _load_liberally(content: bytes) -> Any:
    """Read what orjson refuses and other readers take: half a character, control characters, NaN, broken UTF-8."""
    try:
        return json.loads(content.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        raise MalformedReplyError("The provider's reply is not JSON.") from None


def _check_depth(value: Any) -> None:
    """Refuse what could be read but, nested a little deeper in an answer, not written."""
    try:
        orjson.dumps([[without_halves(value)]])
    except (orjson.JSONEncodeError, RecursionError):
        raise MalformedReplyError("The provider's reply is nested too deeply.") from None


def has_halves(content: bytes) -> bool:
    """Whether a JSON text may hold half a character."""
    return b"\\ud" in content or b"\\uD" in content


def without_halves(value: Any) -> Any:
    """Return JSON, or a value that holds texts, with the halves of a character joined and U+FFFD for lone ones."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {without_halves(key): without_halves(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([without_halves(item) for item in value])
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: without_halves(getattr(value, one.name)) for one in fields(value)})
    return value


class FrameDecoder:
    """Takes the frames of one stream as bytes; joins the halves of a character that came in two frames."""

    def __init__(self, decoder: StreamDecoder) -> None:
        self._decoder = decoder
        self._halves: dict[tuple[int, int], str] = {}

    @property
    def is_finished(self) -> bool:
        return self._decoder.is_finished

    def decode(self, data: bytes) -> Sequence[Delta]:
        """Translate one frame.

        Errors: as `load_frame`, and as the format's own decoder.
        """
        deltas = self._decoder.decode(load_frame(data))
        return self._join(deltas) if self._halves or (b"\\u" in data and has_halves(data)) else deltas

    def end_mark(self) -> Sequence[Delta]:
        return self._join(self._decoder.end_mark())

    def _join(self, deltas: Sequence[Delta]) -> list[Delta]:
        return [joined for delta in deltas for joined in self._joined(delta)]

    def _joined(self, delta: Delta) -> Iterator[Delta]:
        if isinstance(delta, PartDelta):
            if text := self._take(delta.choice, delta.part, delta.text):
                yield PartDelta(delta.choice, delta.part, text)
        elif isinstance(delta, PartStarted):
            value: Any = delta.value
            if isinstance(value, ToolCallPart):
                value = replace(value, arguments=self._take(delta.choice, delta.part, value.arguments))
            elif isinstance(value, TextPart | ReasoningPart | RefusalPart):
                value = replace(value, text=self._take(delta.choice, delta.part, value.text))
            yield PartStarted(delta.choice, delta.part, without_halves(value))
        else:
            if isinstance(delta, ChoiceFinished):
                yield from self._give_up(delta.choice)
            yield without_halves(delta)

    def _take(self, choice: int, part: int, text: str) -> str:
        """Return the text with the half that came before; keep one that ends it."""
        text = self._halves.pop((choice, part), "") + text
        if "\ud800" <= text[-1:] <= "\udbff":
            self._halves[choice, part] = text[-1]
            text = text[:-1]
        return without_halves(text)  # type: ignore[no-any-return]

    def _give_up(self, choice: int) -> Iterator[Delta]:
        for place in [place for place in self._halves if place[0] == choice]:
            del self._halves[place]
            yield PartDelta(*place, LONE_HALF)
