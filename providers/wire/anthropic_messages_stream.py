"""Streamed answers of Anthropic's Messages API.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from providers.bounds import MAX_REPLY_BYTES
from providers.errors import AnswerTooLargeError, MalformedReplyError
from providers.types import (
    ChatResponse,
    Choice,
    ChoiceFinished,
    Delta,
    ExtraDelta,
    JSONObject,
    Part,
    PartDelta,
    PartSigned,
    PartStarted,
    Passthrough,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    TextPart,
    ToolCallPart,
    Usage,
    UsageTold,
)
from providers.wire.accumulator import TOO_LARGE, PiecedText, resolved
from providers.wire.anthropic_messages_answers import (
    REPLY_KEYS,
    STOP_KEYS,
    call_block,
    decode_error,
    encode_answer_part,
    encode_reply,
    encode_stop,
    encode_usage,
    find_usage,
    finish_reason,
    stop_details,
)
from providers.wire.anthropic_messages_blocks import FORMAT, call_id, decode_block, find_object, rest_of, signature_of
from providers.wire.codec import ReplyHead, StreamDecoder, StreamEncoder
from providers.wire.foreign import own_fields
from providers.wire.json_access import (
    count_or_none,
    find_text,
    label_or_none,
    object_at,
    object_or_empty,
    text_at,
    text_or_none,
)
from providers.wire.rendering import compact_json, dump_json, event_frame

_TEXT_TAIL = b"}}\n\n"

MAX_OPEN_BLOCKS = 1024


class _OpenBlock:
    """A block of which more may come. Shape: `place` is its part's, -1 until that begins."""

    __slots__ = ("index", "input", "kind", "place", "wire")

    def __init__(self, index: int, kind: str, wire: JSONObject) -> None:
        self.index = index
        self.kind = kind
        self.wire = dict(wire)
        self.place = -1
        self.input = PiecedText()


class AnthropicStreamDecoder(StreamDecoder):
    """Translates the events of one message, whose end is `message_stop`."""

    ends_at_finish: ClassVar[bool] = True

    def __init__(self) -> None:
        self._usage: JSONObject = {}
        self._blocks: dict[int, _OpenBlock] = {}
        self._growing: dict[int, tuple[str, str, int]] = {}
        """Of each block of which more may come: the type of what comes, the field that holds it, the part's place."""
        self._parts = 0
        self._held_chars = 0
        """How much was kept of blocks until they are whole."""
        self._has_calls = self._is_ended = False

    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        try:  # what most frames are: more of a text, of a thought or of arguments
            if frame["type"] == "content_block_delta":
                delta = frame["delta"]
                kind, field, place = self._growing[frame["index"]]
                if delta["type"] == kind and type(text := delta[field]) is str and text:
                    return (PartDelta(0, place, text),)
        except (KeyError, TypeError):
            pass
        return list(self._decode(frame))

    def end_mark(self) -> Sequence[Delta]:
        return list(self._end())

    def _decode(self, frame: JSONObject) -> Iterator[Delta]:
        match frame.get("type"):
            case "message_start":
                yield from self._start(object_at(frame, "message"))
            case "content_block_start":
                yield from self._start_block(_index(frame), object_at(frame, "content_block"))
            case "content_block_delta":
                yield from self._add(_index(frame), object_at(frame, "delta"))
            case "content_block_stop":
                yield from self._stop_block(_index(frame))
            case "message_delta":
                yield from self._finish(frame)
            case "message_stop":
                yield from self._end()
            case _ if frame.get("error"):
                raise decode_error(200, frame)

    def _start(self, message: JSONObject) -> Iterator[Delta]:
        extra = rest_of(message, *REPLY_KEYS)
        yield ReplyStarted(text_or_none(message.get("model")), label_or_none(message.get("id")), extra)
        yield from self._tell_usage(message)

    def _start_block(self, index: int, wire: JSONObject) -> Iterator[Delta]:
        yield from self._stop_block(index)
        kind = text_or_none(wire.get("type")) or ""
        block = self._open(index, kind, wire)
        if kind == "tool_use":
            self._has_calls = True
            extra = rest_of(wire, "type", "id", "name", "input")
            yield self._begin(block, ToolCallPart(call_id(wire), text_at(wire, "name"), "", extra=extra))
        elif kind == "redacted_thinking":
            yield self._begin(block, decode_block(wire))
        elif kind == "text":
            yield from self._add_text(block, TextPart(""), wire.get("text"))
            citations = wire.get("citations")
            for citation in citations if isinstance(citations, list) else ():
                yield from self._add_citation(block, citation)
        elif kind == "thinking":
            yield from self._add_text(block, ReasoningPart(""), wire.get("thinking"))
            yield from self._sign(block, wire.get("signature"))

    def _open(self, index: int, kind: str, wire: JSONObject) -> _OpenBlock:
        """Errors: MalformedReplyError, AnswerTooLargeError."""
        if len(self._blocks) >= MAX_OPEN_BLOCKS:
            raise MalformedReplyError("The provider's stream begins ever more blocks and completes none.")
        self._hold(len(compact_json(wire)))
        block = self._blocks[index] = _OpenBlock(index, kind, wire)
        return block

    def _hold(self, chars: int) -> None:
        """Errors: AnswerTooLargeError."""
        self._held_chars += chars
        if self._held_chars > MAX_REPLY_BYTES:
            raise AnswerTooLargeError(TOO_LARGE)

    def _begin(self, block: _OpenBlock, part: Part) -> PartStarted:
        block.place = self._parts
        self._parts += 1
        if isinstance(part, TextPart):
            self._growing[block.index] = ("text_delta", "text", block.place)
        elif isinstance(part, ReasoningPart):
            self._growing[block.index] = ("thinking_delta", "thinking", block.place)
        return PartStarted(0, block.place, part)

    def _add(self, index: int, delta: JSONObject) -> Iterator[Delta]:
        block = self._blocks.get(index)
        if block is None:  # some servers begin texts without saying so
            block = self._open(index, "", {})
        match delta.get("type"):
            case "text_delta":
                yield from self._add_text(block, TextPart(""), delta.get("text"))
            case "thinking_delta":
                yield from self._add_text(block, ReasoningPart(""), delta.get("thinking"))
            case "signature_delta":
                yield from self._sign(block, delta.get("signature"))
            case "citations_delta":
                yield from self._add_citation(block, delta.get("citation"))
            case "input_json_delta":
                yield from self._add_input(block, find_text(delta, "partial_json") or "")
            case _:
                self._hold(len(compact_json(delta)))
                _grow(block.wire, delta)

    def _add_text(self, block: _OpenBlock, part: Part, text: Any) -> Iterator[Delta]:
        if text is not None and not isinstance(text, str):
            raise MalformedReplyError("The provider's text is not text.")
        if not text:
            return
        if block.place < 0:
            yield self._begin(block, part)
        yield PartDelta(0, block.place, text)

    def _sign(self, block: _OpenBlock, value: Any) -> Iterator[Delta]:
        if (signature := signature_of(value)) is None:
            return
        if block.place < 0:
            yield self._begin(block, ReasoningPart(""))
        yield PartSigned(0, block.place, signature)

    def _add_citation(self, block: _OpenBlock, citation: Any) -> Iterator[Delta]:
        """Add what a text cites, which may come before the text does."""
        if not isinstance(citation, dict):
            return
        if block.place < 0:
            yield self._begin(block, TextPart(""))
        yield ExtraDelta(0, Passthrough(FORMAT, {"citations": [citation]}), block.place)

    def _add_input(self, block: _OpenBlock, piece: str) -> Iterator[Delta]:
        if not block.kind:
            raise MalformedReplyError("The provider sent the arguments of a call that it did not name.")
        if piece:
            self._hold(len(piece))
            block.input.add(piece)
            if block.kind == "tool_use":
                self._growing[block.index] = ("input_json_delta", "partial_json", block.place)
                yield PartDelta(0, block.place, piece)

    def _stop_block(self, index: int) -> Iterator[Delta]:
        """Complete a block: a call may have had no arguments, and what only this format knows goes out when whole."""
        self._growing.pop(index, None)
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.kind == "tool_use" and not block.input.whole():
            yield PartDelta(0, block.place, compact_json(object_at(block.wire, "input")))
        elif block.place < 0 and block.kind not in ("", "text", "thinking"):
            wire = resolved(block.wire)
            if (given := find_object(block.input.whole())) is not None:
                wire["input"] = given
            yield self._begin(block, decode_block(wire))

    def _finish(self, frame: JSONObject) -> Iterator[Delta]:
        delta = object_at(frame, "delta")
        if details := stop_details(delta):
            yield ExtraDelta(0, details)
        for extra in (rest_of(delta, "stop_reason", *STOP_KEYS), rest_of(frame, "type", "delta", "usage")):
            if extra:
                yield ExtraDelta(None, extra)
        if native := text_or_none(delta.get("stop_reason")):
            yield from self._finish_with(native)
        yield from self._tell_usage(frame)

    def _finish_with(self, native: str | None) -> Iterator[Delta]:
        for index in list(self._blocks):
            yield from self._stop_block(index)
        reason = finish_reason(native, has_calls=self._has_calls)
        self._is_ended = True
        yield ChoiceFinished(0, reason, native)

    def _end(self) -> Iterator[Delta]:
        """Take the mark of the end, which counts also where no reason came before it."""
        if not self._is_ended and self._parts + len(self._blocks):
            yield from self._finish_with(None)
        self.is_finished = self._is_ended

    def _tell_usage(self, frame: JSONObject) -> Iterator[Delta]:
        """Tell the total so far: counts are cumulative; those that an event leaves out, or has as 0, stand."""
        usage = object_or_empty(frame.get("usage"))
        if not usage:
            return
        self._usage.update((key, value) for key, value in usage.items() if value or key not in self._usage)
        if (total := find_usage(self._usage)) is not None:
            yield UsageTold(total)


def _index(frame: JSONObject) -> int:
    return count_or_none(frame.get("index")) or 0


def _grow(wire: JSONObject, delta: JSONObject) -> None:
    """Add what a delta of an unknown kind says of a block: texts grow, all else is replaced."""
    for key, value in delta.items():
        if key == "type":
            continue
        here = wire.get(key)
        if isinstance(here, str | PiecedText) and isinstance(value, str):
            if isinstance(here, str):
                wire[key] = grown = PiecedText()
                grown.add(here)
            wire[key].add(value)
        else:
            wire[key] = value


class AnthropicStreamEncoder(StreamEncoder):
    """Renders a message block after block: none begins before there is something in it, or before the last is closed.

    What comes of a part while the call before it is not whole waits until the end.
    """

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._model_name = head.model_name
        self._extra: Mapping[str, Any] = {}
        self._usage: Usage | None = None
        self._has_head = self._is_started = False
        self._index = -1
        self._open: int | None = None
        """The part whose block is open."""
        self._open_call: list[str] | None = None
        """The arguments of the open call; None where another block is open."""
        self._text_head = _TEXT_TAIL
        self._begun: dict[int, Part] = {}
        """The parts that have begun and have no block yet."""
        self._waiting: list[PartStarted | PartDelta | PartSigned | ExtraDelta] = []

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        frames: list[bytes] = []
        for delta in deltas:
            if type(delta) is PartDelta and delta.part == self._open and self._open_call is None:
                if delta.choice == 0:
                    frames.append(self._text_head + dump_json(delta.text) + _TEXT_TAIL)
            else:
                self._encode(delta, frames)
        if self._has_head and not self._is_started:  # after all that came with it, the usage perhaps
            self._start(frames)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def end(self, response: ChatResponse) -> bytes:
        frames: list[bytes] = []
        self._start(frames)
        self._close(frames)
        waiting, self._waiting = self._waiting, []
        for delta in sorted(waiting, key=lambda delta: delta.part or 0):
            self._take(delta, frames, is_last=True)
        self._close(frames)
        extra = dict(own_fields(response.extra, FORMAT))
        stop = encode_stop(response.choices[0] if response.choices else Choice())
        if "container" in extra:
            stop["container"] = extra.pop("container")
        usage = encode_usage(response.usage)
        frames.append(_event({**extra, "type": "message_delta", "delta": stop, "usage": usage}))
        frames.append(_event({"type": "message_stop"}))
        return b"".join(frames)

    def _encode(self, delta: Delta, frames: list[bytes]) -> None:
        match delta:
            case ReplyStarted():
                self._has_head = True
                self._model_name = delta.model_name or self._model_name
                self._extra = {**self._extra, **own_fields(delta.extra, FORMAT)}
            case UsageTold():
                self._usage = delta.usage
            case PartSigned(signature=signature) if signature.format is not FORMAT:
                pass
            case PartStarted(choice=0) | PartDelta(choice=0) | PartSigned(choice=0) | ExtraDelta(choice=0, part=int()):
                self._start(frames)
                self._take(delta, frames)

    def _start(self, frames: list[bytes]) -> None:
        if self._is_started:
            return
        self._is_started = True
        head = replace(self._head, model_name=self._model_name)
        message = encode_reply(ChatResponse(choices=(Choice(finish_reason=None),), usage=self._usage), head)
        frames.append(_event({"type": "message_start", "message": {**self._extra, **message}}))

    def _take(
        self, delta: PartStarted | PartDelta | PartSigned | ExtraDelta, frames: list[bytes], *, is_last: bool = False
    ) -> None:
        """Render what a part gets, or let it wait."""
        if delta.part == self._open:
            self._add(delta, frames)
        elif not is_last and (self._waiting or not self._is_call_whole()):
            self._waiting.append(delta)
        elif isinstance(delta, PartStarted):
            self._begun[delta.part] = delta.value
            if not isinstance(delta.value, TextPart | ReasoningPart | RefusalPart) or encode_answer_part(delta.value):
                self._open_block(delta.part, frames)
        elif delta.part in self._begun:
            self._open_block(delta.part, frames)
            self._add(delta, frames)

    def _is_call_whole(self) -> bool:
        return self._open_call is None or find_object("".join(self._open_call)) is not None

    def _open_block(self, place: int, frames: list[bytes]) -> None:
        part = self._begun.pop(place)
        block = _block_at_start(part)
        if block is None:
            return
        self._close(frames)
        self._index += 1
        self._open = place
        self._open_call = [] if isinstance(part, ToolCallPart) else None
        field = "thinking" if isinstance(part, ReasoningPart) else "text"
        self._text_head = _delta_head(self._index, field)
        frames.append(_event({"type": "content_block_start", "index": self._index, "content_block": block}))
        for delta in _told_at_start(place, part):
            self._add(delta, frames)

    def _add(self, delta: PartStarted | PartDelta | PartSigned | ExtraDelta, frames: list[bytes]) -> None:
        match delta:
            case PartDelta() if self._open_call is not None:
                self._open_call.append(delta.text)
                frames.append(self._delta({"type": "input_json_delta", "partial_json": delta.text}))
            case PartDelta():
                frames.append(self._text_head + dump_json(delta.text) + _TEXT_TAIL)
            case PartSigned(signature=signature) if signature.format is FORMAT:
                frames.append(self._delta({"type": "signature_delta", "signature": signature.value}))
            case ExtraDelta():
                citations = own_fields(delta.extra, FORMAT).get("citations") or ()
                frames += [self._delta({"type": "citations_delta", "citation": one}) for one in citations]

    def _delta(self, delta: JSONObject) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self, frames: list[bytes]) -> None:
        if self._open is not None:
            frames.append(_event({"type": "content_block_stop", "index": self._index}))
            self._open = self._open_call = None


def _delta_head(index: int, field: str) -> bytes:
    """Return what stands before the JSON text in a frame that adds to a text."""
    data = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{field}_delta","{field}":'
    return f"event: content_block_delta\ndata: {data}".encode()


def _event(data: JSONObject) -> bytes:
    return event_frame(data, event=data["type"])


def _told_at_start(place: int, part: Part) -> Iterator[PartDelta | PartSigned | ExtraDelta]:
    """Yield what a part that came whole says besides its beginning."""
    if isinstance(part, ToolCallPart):
        if part.arguments:
            yield PartDelta(0, place, part.arguments)
    elif isinstance(part, TextPart | RefusalPart):
        if part.text:
            yield PartDelta(0, place, part.text)
        if part.extra is not None:
            yield ExtraDelta(0, part.extra, place)
    elif isinstance(part, ReasoningPart) and not part.is_redacted:
        if part.text:
            yield PartDelta(0, place, part.text)
        if part.signature is not None:
            yield PartSigned(0, place, part.signature)


def _block_at_start(part: Part) -> JSONObject | None:
    """Return a block as it begins: texts and arguments are still to come."""
    match part:
        case TextPart() | RefusalPart():
            return {"type": "text", "text": ""}
        case ReasoningPart() if not part.is_redacted:
            return {"type": "thinking", "thinking": "", "signature": ""}
        case ToolCallPart():
            return call_block(part, {})
        case _:
            return encode_answer_part(part)
