"""Puts the deltas of a streamed answer together again, within bounds: what is handed on is also kept, whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from providers.bounds import MAX_REPLY_BYTES, check_choices, check_tool_calls
from providers.errors import AnswerTooLargeError, MalformedReplyError
from providers.types import (
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    Delta,
    ExtraDelta,
    FinishReason,
    JSONObject,
    OpaquePart,
    Part,
    PartDelta,
    PartSigned,
    PartStarted,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    Signature,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.rendering import dump_json

CHARACTERS_PER_TOKEN = 4
MAX_ANSWER_BYTES = MAX_REPLY_BYTES
MAX_ACCUMULATED_BYTES = MAX_ANSWER_BYTES - 1024 * 1024
"""As JSON; the rest is room for what a dialect puts around it."""

MOST_BYTES = 6
"""What a character takes at most as JSON."""

PIECES_TOGETHER = 256
PART_BYTES = 256
ITEM_BYTES = 96
"""What a choice or a part takes besides its texts, and what an item of an extra takes besides its JSON."""

LABELS = frozenset({"format", "id", "name", "native_finish_reason", "role", "service_tier", "status", "type"})
"""Texts that do not grow by pieces: the last one told stands."""

TOO_LARGE = f"The provider's answer is larger than {MAX_ANSWER_BYTES // 1024 // 1024} MiB."


class PiecedText:
    """A text that comes in pieces; they are joined in batches, as millions of them would take far more than it."""

    __slots__ = ("_batches", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._batches: list[str] = []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= PIECES_TOGETHER:
            self._batches.append("".join(self._pieces))
            self._pieces.clear()

    def whole(self) -> str:
        return "".join((*self._batches, *self._pieces))


@dataclass(slots=True, repr=False)
class _Extras:
    """What came beyond the value types, by the format that says it."""

    by_format: dict[WireFormat, JSONObject] = field(default_factory=dict)

    def add(self, extra: Passthrough | None) -> None:
        if extra is not None:
            merge_fields(self.by_format.setdefault(extra.format, {}), extra.fields)

    def whole(self) -> Passthrough | None:
        """Return what the first format said; two of them in one place are no case that there is."""
        return next((Passthrough(format_, resolved(known)) for format_, known in self.by_format.items()), None)


@dataclass(slots=True, repr=False)
class _GrowingPart:
    """A part; `text` is None for a kind of part that comes whole."""

    value: Part
    text: PiecedText | None
    signature: Signature | None = None
    extras: _Extras = field(default_factory=_Extras)

    def whole(self) -> Part:
        if isinstance(self.value, OpaquePart):
            added = self.extras.by_format.get(self.value.format)
            return replace(self.value, wire=resolved(added)) if added is not None else self.value
        changes: dict[str, Any] = {}
        if self.text is not None:
            changes["arguments" if isinstance(self.value, ToolCallPart) else "text"] = self.text.whole()
        if self.signature is not None and not isinstance(self.value, RefusalPart):
            changes["signature"] = self.signature
        if self.extras.by_format:
            changes["extra"] = self.extras.whole()
        return replace(self.value, **changes)


@dataclass(slots=True, repr=False)
class _GrowingChoice:
    parts: dict[int, _GrowingPart] = field(default_factory=dict)
    extras: _Extras = field(default_factory=_Extras)
    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None


class Accumulator:
    """What of a streamed answer was taken. Units: `held_bytes` is about what it takes in memory."""

    def __init__(self, *, max_bytes: int = MAX_ACCUMULATED_BYTES) -> None:
        self.usage: Usage | None = None
        self.model_name: str | None = None
        self.upstream_id: str | None = None
        self.dropped_params: tuple[str, ...] = ()
        self.held_bytes = 0
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._extras_bytes = 0
        self._is_measured = False
        self._extra: JSONObject = {}
        self._extra_format: WireFormat | None = None
        self._choices: dict[int, _GrowingChoice] = {}
        self._texts: dict[tuple[int, int], PiecedText] = {}
        self._calls = 0
        self._failure: MalformedReplyError | AnswerTooLargeError | None = None

    @property
    def is_finished(self) -> bool:
        """Whether every choice that has begun has its finish reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    def take(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """Take deltas as long as there is room, and return those; `check` tells whether there was none."""
        if self._failure is not None:
            return ()
        for number, delta in enumerate(deltas):
            if type(delta) is PartDelta and not self._is_measured:
                text = self._texts.get((delta.choice, delta.part))
                size_bytes = self._size_bytes + MOST_BYTES * len(delta.text)
                if text is not None and size_bytes <= self._max_bytes:
                    self._size_bytes = size_bytes
                    self.held_bytes += len(delta.text)
                    text.add(delta.text)
                    continue
            try:
                self._add(delta)
            except (AnswerTooLargeError, MalformedReplyError) as error:
                self._failure = error
                return deltas[:number]
        return deltas

    def check(self) -> None:
        """Errors: AnswerTooLargeError; MalformedReplyError for deltas that cannot be put together."""
        if self._failure is not None:
            raise self._failure

    def _add(self, delta: Delta) -> None:
        """Add a delta. Errors: as `check`; nothing is changed then."""
        match delta:
            case PartDelta():
                if (text := self._texts.get((delta.choice, delta.part))) is None:
                    raise MalformedReplyError("The provider's stream goes on with what never began.")
                self._make_room(delta.text, 0)
                text.add(delta.text)
            case PartStarted():
                self._start(delta)
            case PartSigned():
                part = self._part(delta.choice, delta.part)
                self._make_room("", _text_bytes(delta.signature.value))
                part.signature = delta.signature
            case ExtraDelta():
                self._add_extra(delta)
            case ChoiceFinished():
                choice = self._choice(delta.choice)
                choice.finish_reason = delta.finish_reason
                choice.native_finish_reason = delta.native_finish_reason or choice.native_finish_reason
            case ReplyStarted():
                self._add_head(delta)
            case UsageTold():
                self.usage = delta.usage

    def _start(self, delta: PartStarted) -> None:
        value = delta.value
        if delta.choice in self._choices and delta.part in self._choices[delta.choice].parts:
            raise MalformedReplyError("The provider's stream begins a part twice.")
        is_call = isinstance(value, ToolCallPart) or (isinstance(value, OpaquePart) and value.slot == "tool_calls")
        check_tool_calls(self._calls + is_call)
        text = _text_of(value)
        choice = self._choice(delta.choice, text, PART_BYTES + _bytes_of(value) - _text_bytes(text))
        self._calls += is_call
        choice.parts[delta.part] = part = _GrowingPart(value, None)
        if isinstance(value, TextPart | RefusalPart | ReasoningPart | ToolCallPart):
            part.text = self._texts[delta.choice, delta.part] = PiecedText()
            if text:
                part.text.add(text)

    def _choice(self, index: int, text: str = "", extras_bytes: int = 0) -> _GrowingChoice:
        """Return a choice, begun if it was not, with room for what is added to it."""
        is_new = index not in self._choices
        check_choices(len(self._choices) + is_new)
        self._make_room(text, extras_bytes + PART_BYTES * is_new)
        if is_new:
            self._choices[index] = _GrowingChoice()
        return self._choices[index]

    def _part(self, choice: int, part: int) -> _GrowingPart:
        growing = self._choices.get(choice, _GrowingChoice()).parts.get(part)
        if growing is None:
            raise MalformedReplyError("The provider's stream goes on with what never began.")
        return growing

    def _add_extra(self, delta: ExtraDelta) -> None:
        if delta.choice is None:
            self._add_reply_extra(delta.extra)
            return
        extra_bytes = _extra_bytes(delta.extra.fields)
        if delta.part is None:
            self._choice(delta.choice, "", extra_bytes).extras.add(delta.extra)
            return
        part = self._part(delta.choice, delta.part)
        self._make_room("", extra_bytes)
        if not part.extras.by_format:
            part.extras.add(_passthrough_of(part.value))
        part.extras.add(delta.extra)

    def _add_head(self, delta: ReplyStarted) -> None:
        is_new = delta.model_name and delta.model_name != self.model_name
        self._make_room("", _text_bytes(delta.model_name) if is_new else 0)
        self.model_name = delta.model_name or self.model_name
        self.upstream_id = delta.upstream_id or self.upstream_id
        if delta.extra is not None:
            self._add_reply_extra(delta.extra)

    def _add_reply_extra(self, extra: Passthrough) -> None:
        """Add what is said of the answer: here the last word stands."""
        self._make_room("", _extra_bytes(extra.fields))
        self._extra_format = self._extra_format or extra.format
        if extra.format is self._extra_format:
            self._extra.update(extra.fields)

    def _make_room(self, text: str, extras_bytes: int) -> None:
        """Count a text at the most that it can take as JSON; measure it only where that would be too much.

        Errors: AnswerTooLargeError.
        """
        most_bytes = _text_bytes(text) if self._is_measured else MOST_BYTES * len(text)
        if self._size_bytes + most_bytes + extras_bytes > self._max_bytes and not self._is_measured:
            self._is_measured = True
            self._size_bytes = self._extras_bytes + sum(_text_bytes(one.whole()) for one in self._texts.values())
            most_bytes = _text_bytes(text)
        if self._size_bytes + most_bytes + extras_bytes > self._max_bytes:
            raise AnswerTooLargeError(TOO_LARGE)
        self._size_bytes += most_bytes + extras_bytes
        self._extras_bytes += extras_bytes
        self.held_bytes += len(text) + extras_bytes

    def response(self) -> ChatResponse:
        """Return what was taken as an answer; choices that are not finished have no finish reason."""
        extra = Passthrough(self._extra_format, dict(self._extra)) if self._extra_format and self._extra else None
        return ChatResponse(
            choices=tuple([_whole_choice(index, choice) for index, choice in sorted(self._choices.items())]),
            model_name=self.model_name or "",
            usage=self.usage,
            upstream_id=self.upstream_id,
            dropped_params=self.dropped_params,
            extra=extra,
        )


def _whole_choice(index: int, choice: _GrowingChoice) -> Choice:
    return Choice(
        index=index,
        parts=tuple([part.whole() for _, part in sorted(choice.parts.items())]),
        finish_reason=choice.finish_reason,
        native_finish_reason=choice.native_finish_reason,
        extra=choice.extras.whole(),
    )


def _passthrough_of(value: Part) -> Passthrough | None:
    return Passthrough(value.format, value.wire) if isinstance(value, OpaquePart) else value.extra


def _text_of(value: Part) -> str:
    """Return the text of a part that may grow."""
    if isinstance(value, ToolCallPart):
        return value.arguments
    return value.text if isinstance(value, TextPart | RefusalPart | ReasoningPart) else ""


def merge_fields(known: JSONObject, more: Mapping[str, Any]) -> None:
    """Add what a further piece says to an object: texts and lists grow, as clients put them together."""
    for key, value in more.items():
        here = known.get(key)
        if isinstance(value, str) and key not in LABELS:
            if not isinstance(here, PiecedText):
                here = known[key] = PiecedText()
            here.add(value)
        elif isinstance(value, Mapping):
            if not isinstance(here, dict):
                here = known[key] = {}
            merge_fields(here, value)
        elif isinstance(value, list):
            if not isinstance(here, list):
                here = known[key] = []
            _merge_items(here, value)
        elif value is not None or here is None:
            known[key] = value


def _merge_items(known: list[Any], more: Iterable[Any]) -> None:
    """Add items to a list; one that has the number of the last continues it."""
    for item in more:
        if not isinstance(item, Mapping):
            known.append(item)
            continue
        is_same = "index" in item and known and isinstance(known[-1], dict) and known[-1].get("index") == item["index"]
        if not is_same:
            known.append({})
        merge_fields(known[-1], item)


def resolved(value: Any) -> Any:
    """Return what was merged, its texts joined."""
    if isinstance(value, PiecedText):
        return value.whole()
    if isinstance(value, dict):
        return {key: resolved(item) for key, item in value.items()}
    return [resolved(item) for item in value] if isinstance(value, list) else value


def _text_bytes(text: str | None) -> int:
    return len(dump_json(text)) - 2 if text else 0


def _bytes_of(value: Any) -> int:
    """Return what a part takes as JSON, the names of its own fields left out."""
    if isinstance(value, str):
        return _text_bytes(value)
    if isinstance(value, Mapping):
        return _extra_bytes(value) if value else 0
    if isinstance(value, tuple):
        return sum(_bytes_of(item) for item in value)
    if is_dataclass(value):
        return sum(_bytes_of(getattr(value, one.name)) for one in fields(value))
    return 0


def _extra_bytes(extra: Mapping[str, Any]) -> int:
    extra_json = dump_json(dict(extra))
    return len(extra_json) + ITEM_BYTES * (extra_json.count(b",") + 1)


def estimated_usage(request: ChatRequest, response: ChatResponse) -> Usage:
    """Guess the tokens of a chat whose provider did not count them, from the length of its text."""
    prompt = sum(_characters_of(message.parts) for message in request.messages)
    completion = sum(
        _characters_of(choice.parts)
        + sum(len(part.text) for part in choice.parts if isinstance(part, ReasoningPart))
        + sum(len(part.arguments) for part in choice.parts if isinstance(part, ToolCallPart))
        for choice in response.choices
    )
    return Usage(prompt_tokens=_tokens(prompt), completion_tokens=_tokens(completion), source="estimated")


def _characters_of(parts: Iterable[Part]) -> int:
    return sum(len(part.text) for part in parts if isinstance(part, TextPart | ToolResultPart))


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def with_usage(request: ChatRequest, response: ChatResponse) -> ChatResponse:
    """Return an answer whose tokens are counted, by the provider or by guess."""
    return response if response.usage is not None else replace(response, usage=estimated_usage(request, response))
