"""Puts the pieces of a streamed answer together again, within bounds: what is handed on is also kept, whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from providers.bounds import MAX_REPLY_BYTES, check_choices, check_tool_calls
from providers.errors import AnswerTooLargeError, MalformedReplyError
from providers.types import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceDelta,
    Extra,
    FinishReason,
    JSONObject,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from providers.wire.encoding import dump

CHARACTERS_PER_TOKEN = 4
MAX_ANSWER_BYTES = MAX_REPLY_BYTES
MAX_ASSEMBLED_BYTES = MAX_ANSWER_BYTES - 1024 * 1024
"""As JSON; the rest is room for what a dialect puts around it."""

MAX_HELD_CHUNKS = 4096
MOST_BYTES = 6
"""What a character takes at most as JSON."""

PIECES_TOGETHER = 256
PART_BYTES = 256
ITEM_BYTES = 96
"""What a choice or a call takes besides its texts, and what an item of an extra takes besides its JSON."""

LABELS = frozenset({"format", "id", "name", "native_finish_reason", "role", "service_tier", "status", "type"})
"""Texts that do not grow by pieces: the last one told stands."""


class _Text:
    """A text that comes in pieces; they are joined in batches, as millions of them would take far more than it."""

    __slots__ = ("_batches", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._batches: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._pieces or self._batches)

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= PIECES_TOGETHER:
            self._batches.append("".join(self._pieces))
            self._pieces.clear()

    def whole(self) -> str:
        return "".join((*self._batches, *self._pieces))


@dataclass(slots=True, repr=False)
class _Parts:
    content: _Text = field(default_factory=_Text)
    reasoning: _Text = field(default_factory=_Text)
    refusal: _Text = field(default_factory=_Text)
    calls: dict[int, _Call] = field(default_factory=dict)
    extra: JSONObject = field(default_factory=dict)
    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None


@dataclass(slots=True, repr=False)
class _Call:
    id: str = ""
    name: str = ""
    arguments: _Text = field(default_factory=_Text)
    extra: JSONObject = field(default_factory=dict)


class Assembly:
    """What of a streamed answer was handed on, and what is held back of it.

    Units: `held_bytes` is about what it takes in memory.
    """

    def __init__(self, *, max_bytes: int = MAX_ASSEMBLED_BYTES) -> None:
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
        self._last_extra: Extra | None = None
        self._choices: dict[int, _Parts] = {}
        self._begun: set[int] = set()
        self._begun_calls: set[tuple[int, int]] = set()
        self._unfinished: set[int] = set()
        self._held: list[ChatChunk] = []
        self._failure: MalformedReplyError | AnswerTooLargeError | None = None

    @property
    def is_finished(self) -> bool:
        """Whether every choice that has begun has its finish reason."""
        return bool(self._begun) and not self._unfinished

    def take(self, chunks: Iterable[ChatChunk]) -> list[ChatChunk]:
        """Take chunks as long as there is room; return those after which the answer was not finished, to be handed on.

        Those after them are held back. `check` tells whether there was no room.
        """
        free: list[ChatChunk] = []
        for chunk in chunks:
            if self._take_plain(chunk):
                free.append(chunk)
                continue
            try:
                self._note(chunk)
            except (AnswerTooLargeError, MalformedReplyError) as error:
                self._failure = error
                break
            if self.is_finished:
                self._held.append(chunk)
                continue
            if self._held:
                free += self.release()
            self._add(chunk)
            free.append(chunk)
        return free

    def _take_plain(self, chunk: ChatChunk) -> bool:
        """Take what most chunks are, text alone for a choice that goes on; False for any other."""
        if self._is_measured or len(chunk.choices) != 1 or chunk.usage or chunk.dropped_params:
            return False
        [delta] = chunk.choices
        text = delta.content
        if not text or delta.index not in self._unfinished or delta.finish_reason or delta.tool_calls or delta.extra:
            return False
        if delta.reasoning or delta.refusal or (chunk.extra and chunk.extra != self._last_extra):
            return False
        if chunk.model_name and chunk.model_name != self.model_name:
            return False
        size_bytes = self._size_bytes + MOST_BYTES * len(text)
        if size_bytes > self._max_bytes:
            return False
        self._size_bytes = size_bytes
        self.held_bytes += len(text)
        self._choices[delta.index].content.add(text)
        return True

    def check(self) -> None:
        """Errors: AnswerTooLargeError; MalformedReplyError for an answer that goes on and on after its end."""
        if self._failure is not None:
            raise self._failure

    def release(self) -> list[ChatChunk]:
        """Return what was held back; it counts as handed on."""
        held, self._held = self._held, []
        for chunk in held:
            self._add(chunk)
        return held

    def _note(self, chunk: ChatChunk) -> None:
        """Count a chunk in.

        Errors: as `check`; nothing is changed then.
        """
        if len(self._held) >= MAX_HELD_CHUNKS:
            raise MalformedReplyError("The provider's stream goes on after its answer has ended.")
        characters = extras_bytes = 0
        begun: set[int] = set()
        calls: set[tuple[int, int]] = set()
        for delta in chunk.choices:
            if delta.index not in self._begun:
                begun.add(delta.index)
            if delta.content:
                characters += len(delta.content)
            if delta.reasoning:
                characters += len(delta.reasoning)
            if delta.refusal:
                characters += len(delta.refusal)
            if delta.extra:
                extras_bytes += _extra_bytes(delta.extra)
            for piece in delta.tool_calls:
                characters += len(piece.arguments)
                extras_bytes += _call_bytes(piece)
                calls.add((delta.index, piece.index))
        extras_bytes += self._head_bytes(chunk)
        if begun or calls:
            calls -= self._begun_calls
            check_choices(len(self._begun) + len(begun))
            check_tool_calls(len(self._begun_calls) + len(calls))
            extras_bytes += PART_BYTES * (len(begun) + len(calls))
        self._make_room(chunk, characters, extras_bytes)
        self.held_bytes += characters + extras_bytes
        self._last_extra = chunk.extra or self._last_extra
        self._begun |= begun
        self._begun_calls |= calls
        self._unfinished |= begun
        self._unfinished.difference_update([delta.index for delta in chunk.choices if delta.finish_reason])

    def _head_bytes(self, chunk: ChatChunk) -> int:
        """Return what a chunk says anew beside its choices."""
        extra_bytes = _extra_bytes(chunk.extra) if chunk.extra and chunk.extra != self._last_extra else 0
        return extra_bytes + (_text_bytes(chunk.model_name) if chunk.model_name != self.model_name else 0)

    def _make_room(self, chunk: ChatChunk, characters: int, extras_bytes: int) -> None:
        """Count texts at the most that they can take as JSON; measure them only where that would be too much.

        Errors: AnswerTooLargeError.
        """
        most_bytes = MOST_BYTES * characters if not self._is_measured else _texts_bytes(chunk)
        if self._size_bytes + most_bytes + extras_bytes > self._max_bytes and not self._is_measured:
            self._is_measured = True
            self._size_bytes = self._extras_bytes + self._measured_bytes()
            most_bytes = _texts_bytes(chunk)
        if self._size_bytes + most_bytes + extras_bytes > self._max_bytes:
            raise AnswerTooLargeError(f"The provider's answer is larger than {MAX_ANSWER_BYTES // 1024 // 1024} MiB.")
        self._size_bytes += most_bytes + extras_bytes
        self._extras_bytes += extras_bytes

    def _measured_bytes(self) -> int:
        texts = [text for parts in self._choices.values() for text in _texts_of(parts)]
        return sum(_text_bytes(text.whole()) for text in texts) + sum(_texts_bytes(chunk) for chunk in self._held)

    def _add(self, chunk: ChatChunk) -> None:
        self.usage = chunk.usage or self.usage
        self.model_name = chunk.model_name or self.model_name
        self.upstream_id = chunk.upstream_id or self.upstream_id
        self.dropped_params = chunk.dropped_params or self.dropped_params
        if chunk.extra:
            self._extra.update(chunk.extra)
        for delta in chunk.choices:
            self._add_delta(delta)

    def _add_delta(self, delta: ChoiceDelta) -> None:
        parts = self._choices.get(delta.index)
        if parts is None:
            parts = self._choices[delta.index] = _Parts()
        if delta.content:
            parts.content.add(delta.content)
        if delta.reasoning:
            parts.reasoning.add(delta.reasoning)
        if delta.refusal:
            parts.refusal.add(delta.refusal)
        for piece in delta.tool_calls:
            call = parts.calls.setdefault(piece.index, _Call())
            call.id = piece.id or call.id
            call.name = piece.name or call.name
            call.arguments.add(piece.arguments)
            _merge(call.extra, piece.extra)
        if delta.extra:
            _merge(parts.extra, delta.extra)
        if delta.finish_reason:
            parts.finish_reason = delta.finish_reason
        parts.native_finish_reason = delta.native_finish_reason or parts.native_finish_reason

    def response(self) -> ChatResponse:
        """Return what was handed on as an answer; choices that are not finished have no finish reason."""
        return ChatResponse(
            choices=tuple(_choice(index, parts) for index, parts in sorted(self._choices.items())),
            model_name=self.model_name or "",
            usage=self.usage,
            upstream_id=self.upstream_id,
            dropped_params=self.dropped_params,
            extra=self._extra,
        )


def _choice(index: int, parts: _Parts) -> Choice:
    return Choice(
        index=index,
        content=parts.content.whole() if parts.content or not parts.calls else None,
        reasoning=parts.reasoning.whole() or None,
        refusal=parts.refusal.whole() or None,
        tool_calls=tuple(
            ToolCall(call.id, call.name, call.arguments.whole(), _resolved(call.extra))
            for _, call in sorted(parts.calls.items())
        ),
        finish_reason=parts.finish_reason,
        native_finish_reason=parts.native_finish_reason,
        extra=_resolved(parts.extra),
    )


def _merge(known: JSONObject, more: Extra) -> None:
    """Add what a further piece says to an object: texts and lists grow, as clients put them together."""
    for key, value in more.items():
        here = known.get(key)
        if isinstance(value, str) and key not in LABELS:
            if not isinstance(here, _Text):
                here = known[key] = _Text()
            here.add(value)
        elif isinstance(value, dict):
            if not isinstance(here, dict):
                here = known[key] = {}
            _merge(here, value)
        elif isinstance(value, list):
            if not isinstance(here, list):
                here = known[key] = []
            _merge_items(here, value)
        elif value is not None or here is None:
            known[key] = value


def _merge_items(known: list[Any], more: Iterable[Any]) -> None:
    """Add items to a list; one that has the number of the last continues it."""
    for item in more:
        if not isinstance(item, dict):
            known.append(item)
            continue
        is_same = "index" in item and known and isinstance(known[-1], dict) and known[-1].get("index") == item["index"]
        if not is_same:
            known.append({})
        _merge(known[-1], item)


def _resolved(value: Any) -> Any:
    """Return what was merged, its texts joined."""
    if isinstance(value, _Text):
        return value.whole()
    if isinstance(value, dict):
        return {key: _resolved(item) for key, item in value.items()}
    return [_resolved(item) for item in value] if isinstance(value, list) else value


def _texts_of(parts: _Parts) -> Iterable[_Text]:
    return (parts.content, parts.reasoning, parts.refusal, *(call.arguments for call in parts.calls.values()))


def _texts_bytes(chunk: ChatChunk) -> int:
    """Return what the texts of a chunk take as JSON."""
    return sum(
        _text_bytes(delta.content)
        + _text_bytes(delta.reasoning)
        + _text_bytes(delta.refusal)
        + sum(_text_bytes(piece.arguments) for piece in delta.tool_calls)
        for delta in chunk.choices
    )


def _text_bytes(text: str | None) -> int:
    return len(dump(text)) - 2 if text else 0


def _call_bytes(piece: ToolCallDelta) -> int:
    extra_bytes = _extra_bytes(piece.extra) if piece.extra else 0
    return _text_bytes(piece.id) + _text_bytes(piece.name) + extra_bytes


def _extra_bytes(extra: Extra) -> int:
    extra_json = dump(extra)
    return len(extra_json) + ITEM_BYTES * (extra_json.count(b",") + 1)


def estimated_usage(request: ChatRequest, response: ChatResponse) -> Usage:
    """Guess the tokens of a chat whose provider did not count them, from the length of its text."""
    prompt = sum(len(message.text) for message in request.messages)
    completion = sum(
        len(choice.content or "") + len(choice.reasoning or "") + sum(len(call.arguments) for call in choice.tool_calls)
        for choice in response.choices
    )
    return Usage(prompt_tokens=_tokens(prompt), completion_tokens=_tokens(completion), source="estimated")


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def with_usage(request: ChatRequest, response: ChatResponse) -> ChatResponse:
    """Return an answer whose tokens are counted, by the provider or by guess."""
    return response if response.usage is not None else replace(response, usage=estimated_usage(request, response))
