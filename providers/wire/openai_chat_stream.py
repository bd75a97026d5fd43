"""Streamed answers of OpenAI's chat completions, as OpenAI and a dozen of other servers send them, and as the hub does.

Source: https://platform.openai.com/docs/api-reference/chat-streaming, read 2026-11.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from providers.bounds import check_choices, check_tool_calls
from providers.errors import MalformedReplyError
from providers.types import (
    ChatResponse,
    ChoiceFinished,
    Delta,
    ExtraDelta,
    ImagePart,
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
    Usage,
    UsageTold,
)
from providers.wire.accumulator import PiecedText
from providers.wire.codec import ReplyHead, StreamDecoder, StreamEncoder
from providers.wire.foreign import own_fields
from providers.wire.json_access import (
    count_or_none,
    label_or_none,
    object_at,
    object_or_empty,
    objects_at,
    text_or_none,
)
from providers.wire.openai_chat_answers import (
    SILENT_KEYS,
    arguments_text,
    call_extra,
    check_no_error,
    choice_extra,
    content_part_object,
    counts_in,
    decode_pieces,
    finish_reason_of,
    is_answer_call,
    is_content_part,
    is_plain,
    synthetic_call_id,
    thoughts_of,
    usage_object,
    usage_of,
)
from providers.wire.openai_chat_messages import (
    FORMAT,
    decode_thinking_block,
    encode_call,
    encode_part,
    encode_thinking_block,
    find_call_signature,
    passthrough,
    rest_of,
    thinking_blocks,
)
from providers.wire.rendering import dump_json, event_frame

DONE = b"data: [DONE]\n\n"

_KIND_OF_FIELD: Mapping[str, type[Part]] = {
    "content": TextPart,
    "reasoning_content": ReasoningPart,
    "reasoning": ReasoningPart,
    "refusal": RefusalPart,
}
_TEXT_FIELDS: Mapping[type[Part], str] = {
    TextPart: "content",
    ReasoningPart: "reasoning_content",
    RefusalPart: "refusal",
}
_PLACE_KEYS = frozenset({"index", "id", "type"})

MAX_NAMELESS_CHARS = 16 * 1024
"""So much of a call's arguments may come before its name."""

NAMELESS = "The provider's tool call lacks `name`."


class _OpenCall:
    """A call that may go on. Shape: `id` is the provider's; `place` is None until its name is known."""

    __slots__ = ("arguments", "extra", "id", "is_opaque", "name", "number", "place", "signature")

    def __init__(self, id_: str | None, number: int) -> None:
        self.id = id_
        self.number = number
        self.name: str | None = None
        self.arguments = ""
        self.place: int | None = None
        self.is_opaque = False
        self.signature: Signature | None = None
        self.extra: Passthrough | None = None


class _BegunChoice:
    """What has begun of a choice. Shape: `kind` is that of the text that goes on at `place`, None where none does."""

    __slots__ = ("by_id", "calls", "index", "is_finished", "kind", "latest", "parts", "place")

    def __init__(self, index: int) -> None:
        self.index = index
        self.parts = 0
        self.kind: type[Part] | None = None
        self.place = 0
        self.calls: list[_OpenCall] = []
        self.by_id: dict[str, _OpenCall] = {}
        self.latest: dict[int, _OpenCall] = {}
        self.is_finished = False

    def start(self, value: Part) -> PartStarted:
        """Begin a part; what goes on is text that nothing else is said with."""
        self.place = self.parts
        self.parts += 1
        self.kind = type(value) if is_plain(value) else None
        return PartStarted(self.index, self.place, value)

    def add_text(self, value: TextPart | ReasoningPart | RefusalPart) -> Iterator[Delta]:
        if self.kind is not type(value):
            yield self.start(type(value)(""))
        yield PartDelta(self.index, self.place, value.text)

    def call_of(self, wire: JSONObject) -> _OpenCall:
        """Return the call that a piece belongs to: another id, or without ids another name, begins another call."""
        index, id_ = count_or_none(wire.get("index")), label_or_none(wire.get("id"))
        name = text_or_none(object_or_empty(wire.get("function")).get("name"))
        call = self._find_call(index, id_, name)
        if call is None:
            call = _OpenCall(id_, len(self.calls))
            self.calls.append(call)
            if id_:
                self.by_id.setdefault(id_, call)
        if index is not None:
            self.latest[index] = call
        return call

    def _find_call(self, index: int | None, id_: str | None, name: str | None) -> _OpenCall | None:
        same_id = self.by_id.get(id_) if id_ else None
        if index is None:
            is_more = self.calls and not (id_ or name)
            return self.calls[-1] if is_more else same_id
        call = self.latest.get(index)
        if call is None or (id_ and call.id and call.id != id_):
            return same_id if call is not None else None
        if not id_ and name and call.name and name != call.name:
            return None
        return call


class ChatStreamDecoder(StreamDecoder):
    """Finished once every choice that began has a finish reason, or with `[DONE]` after some answer."""

    def __init__(self) -> None:
        self._choices: dict[int, _BegunChoice] = {}
        self._said: JSONObject = {}
        self._upstream_id: str | None = None
        self._counts: dict[str, int] = {}
        self._usage: Usage | None = None

    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        delta = self._find_plain(frame)
        return list(self._decode(frame)) if delta is None else (delta,)

    def _find_plain(self, frame: JSONObject) -> PartDelta | None:
        """Return what most frames hold, more of a text that has begun and nothing else; None for any other."""
        choices = frame.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return None
        for key, value in frame.items():
            if value and key not in SILENT_KEYS and self._said.get(key) != value:
                return None
        choice = choices[0]
        for key, value in choice.items():
            if value and key not in ("index", "delta"):
                return None
        delta = choice.get("delta")
        open_choice = self._choices.get(choice.get("index", 0))
        if open_choice is None or type(delta) is not dict or (field := _only_text_in(delta)) is None:
            return None
        if open_choice.kind is not _KIND_OF_FIELD[field]:
            return None
        return PartDelta(open_choice.index, open_choice.place, delta[field])

    def _decode(self, frame: JSONObject) -> Iterator[Delta]:
        check_no_error(frame)
        yield from self._decode_head(frame)
        choices = objects_at(frame, "choices")
        for choice in choices:
            yield from self._decode_choice(choice)
        if counts := counts_in(frame):
            yield from self._decode_usage(counts)
        if choices:
            self.is_finished = all(choice.is_finished for choice in self._choices.values())

    def _decode_head(self, frame: JSONObject) -> Iterator[Delta]:
        """Yield what a frame says of the answer, as far as it is news; one without choices is no part of it."""
        if "choices" not in frame:
            return
        news = {
            key: value
            for key, value in frame.items()
            if value is not None and key != "usage" and key not in SILENT_KEYS and self._said.get(key) != value
        }
        if not news:
            return
        self._said |= news
        extra = passthrough(rest_of(news, ("id", "model")))
        model_name, upstream_id = label_or_none(news.get("model")), label_or_none(news.get("id"))
        if model_name or (upstream_id and self._upstream_id is None):
            self._upstream_id = self._upstream_id or upstream_id
            yield ReplyStarted(model_name, self._upstream_id, extra)
        elif extra:
            yield ExtraDelta(None, extra)

    def _decode_usage(self, counts: Mapping[str, int]) -> Iterator[Delta]:
        """Yield the usage if it is news; a later frame may tell less of it than an earlier one."""
        self._counts.update(counts)
        usage = usage_of(self._counts)
        if usage is not None and usage != self._usage:
            self._usage = usage
            yield UsageTold(usage)

    def _decode_choice(self, wire: JSONObject) -> Iterator[Delta]:
        index = count_or_none(wire.get("index")) or 0
        choice = self._choices.get(index)
        if choice is None:
            check_choices(len(self._choices) + 1)
            choice = self._choices[index] = _BegunChoice(index)
        delta = object_at(wire, "delta") or object_at(wire, "message")  # the latter from servers that do not stream
        deltas = list(self._decode_delta(choice, delta))
        if extra := choice_extra(wire, delta):
            at = len(deltas) - (bool(deltas) and isinstance(deltas[-1], PartDelta))
            deltas.insert(at, ExtraDelta(index, extra))  # before the text that it is said of: they are served together
        yield from deltas
        if native := label_or_none(wire.get("finish_reason")):
            yield self._finish(choice, native)

    def _decode_delta(self, choice: _BegunChoice, delta: JSONObject) -> Iterator[Delta]:
        if thoughts := thoughts_of(delta):
            yield from choice.add_text(ReasoningPart(thoughts))
        for block in thinking_blocks(delta):
            yield self._sign(choice, decode_thinking_block(block))
        for piece in decode_pieces(delta):
            if isinstance(piece, TextPart | ReasoningPart | RefusalPart) and is_plain(piece):
                yield from choice.add_text(piece)
            else:
                yield choice.start(piece)
        for call in objects_at(delta, "tool_calls"):
            yield from self._decode_call(choice, call)

    def _sign(self, choice: _BegunChoice, thoughts: ReasoningPart) -> Delta:
        """Return the signature of the thoughts that have just come, or thoughts that come with theirs alone."""
        if choice.kind is not ReasoningPart or thoughts.is_redacted or thoughts.signature is None:
            return choice.start(thoughts)
        choice.kind = None
        return PartSigned(choice.index, choice.place, thoughts.signature)

    def _decode_call(self, choice: _BegunChoice, wire: JSONObject) -> Iterator[Delta]:
        call = choice.call_of(wire)
        if call.is_opaque:
            assert call.place is not None
            if more := passthrough(rest_of(wire, _PLACE_KEYS)):
                yield ExtraDelta(choice.index, more, call.place)
        elif call.place is not None:
            yield from _more_of_call(choice.index, call.place, wire)
        elif wire.get("type") not in (None, "function"):
            call.is_opaque = True
            call.place = choice.parts
            yield choice.start(OpaquePart(FORMAT, rest_of(wire, ("index",)), "tool_calls"))
        else:
            yield from self._begin_call(choice, call, wire)

    def _begin_call(self, choice: _BegunChoice, call: _OpenCall, wire: JSONObject) -> Iterator[Delta]:
        """Begin a call once its name is there.

        Errors: MalformedReplyError, AnswerTooLargeError where too much comes before it.
        """
        function = object_at(wire, "function")
        call.id = call.id or label_or_none(wire.get("id"))
        call.name = text_or_none(function.get("name")) or None
        call.arguments += arguments_text(function)
        call.signature = find_call_signature(wire) or call.signature
        call.extra = call_extra(wire) or call.extra
        if call.name is None:
            check_tool_calls(sum(len(one.calls) for one in self._choices.values()))
            if len(call.arguments) > MAX_NAMELESS_CHARS:
                raise MalformedReplyError(NAMELESS)
            return
        call.place = choice.parts
        id_ = call.id or synthetic_call_id(self._upstream_id, call.number)
        yield choice.start(ToolCallPart(id_, call.name, call.arguments, call.signature, call.extra))

    def _finish(self, choice: _BegunChoice, native: str | None) -> ChoiceFinished:
        """Errors: UpstreamError; MalformedReplyError for a call whose name never came."""
        if any(call.place is None and (call.id or call.arguments) for call in choice.calls):
            raise MalformedReplyError(NAMELESS)
        choice.is_finished = True
        if native is None:
            return ChoiceFinished(choice.index, "tool_calls" if choice.calls else "stop")
        return ChoiceFinished(choice.index, finish_reason_of(native), native)

    def end_mark(self) -> Sequence[Delta]:
        """Take `[DONE]`, with which some servers end an answer that has no finish reason."""
        if self.is_finished or not any(choice.parts for choice in self._choices.values()):
            return ()
        self.is_finished = True
        return [self._finish(choice, None) for choice in self._choices.values() if not choice.is_finished]


def _only_text_in(delta: JSONObject) -> str | None:
    """Return the field of a delta's text, None where it holds something else, too."""
    only = None
    for key, value in delta.items():
        if value and key != "role":
            if only is not None or type(value) is not str or key not in _KIND_OF_FIELD:
                return None
            only = key
    return only


def _more_of_call(choice: int, place: int, wire: JSONObject) -> Iterator[Delta]:
    if arguments := arguments_text(object_or_empty(wire.get("function"))):
        yield PartDelta(choice, place, arguments)
    if signature := find_call_signature(wire):
        yield PartSigned(choice, place, signature)
    if extra := call_extra(wire):
        yield ExtraDelta(choice, extra, place)


class ChatStreamEncoder(StreamEncoder):
    """Renders each delta as a chunk, what is said beside a text together with it."""

    def __init__(self, head: ReplyHead, *, wants_usage: bool = False) -> None:
        self._head = head
        self._wants_usage = wants_usage
        self._model_name = head.model_name
        self._labels: JSONObject = {}
        self._once: JSONObject = {}
        self._begun: set[int] = set()
        self._parts: dict[tuple[int, int], Part] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._counts: Counter[tuple[int, str]] = Counter()
        self._thoughts: dict[tuple[int, int], PiecedText] = {}
        self._ends: dict[tuple[int, int], tuple[bytes, bytes]] = {}

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        frames: list[bytes] = []
        waiting: dict[int, JSONObject] = {}
        for delta in deltas:
            if type(delta) is PartDelta and not waiting and not self._once:
                head, tail = self._ends.get((delta.choice, delta.part)) or self._ends_of(delta.choice, delta.part)
                frames.append(head + dump_json(delta.text) + tail)
                if self._thoughts:
                    self._note_thoughts(delta)
            elif isinstance(delta, ReplyStarted):
                self._add_head(delta.model_name, delta.extra)
            elif isinstance(delta, ExtraDelta) and delta.part is None:
                if delta.choice is None:
                    self._add_head(None, delta.extra)
                elif fields := own_fields(delta.extra, FORMAT):
                    waiting[delta.choice] = {**waiting.get(delta.choice, {}), **fields}
            elif not isinstance(delta, UsageTold):
                frames += self._frames(delta, waiting)
        for index, fields in waiting.items():
            frames.append(self._frame(index, {}, beside=fields))
        return b"".join(frames)

    def _note_thoughts(self, delta: PartDelta) -> None:
        """Keep the text of thoughts until their signature comes, which is told together with it."""
        if (thoughts := self._thoughts.get((delta.choice, delta.part))) is not None:
            thoughts.add(delta.text)

    def _ends_of(self, choice: int, part: int) -> tuple[bytes, bytes]:
        """Return what stands before and behind the text of a chunk."""
        place = (choice, part)
        chunk = dump_json(self._chunk([self._choice_object(choice, self._text_fields(place, "\0"))]))
        head, tail = chunk.rsplit(rb'"\u0000"', 1)
        ends = self._ends[place] = (b"data: " + head, tail + b"\n\n")
        return ends

    def _text_fields(self, place: tuple[int, int], text: str) -> JSONObject:
        value = self._parts[place]
        if isinstance(value, ToolCallPart):
            return {"tool_calls": [{"index": self._numbers[place], "function": {"arguments": text}}]}
        return {_TEXT_FIELDS[type(value)]: text}

    def _add_head(self, model_name: str | None, extra: Passthrough | None) -> None:
        """Take what is said of the answer: labels stand in each chunk, everything else in the next alone."""
        fields = own_fields(extra, FORMAT)
        self._model_name = model_name or self._model_name
        self._labels |= {key: value for key, value in fields.items() if not isinstance(value, list | dict)}
        self._once |= {key: value for key, value in fields.items() if isinstance(value, list | dict)}
        self._ends.clear()

    def _frames(
        self, delta: PartDelta | PartStarted | PartSigned | ExtraDelta | ChoiceFinished, waiting: dict[int, JSONObject]
    ) -> Iterator[bytes]:
        index = delta.choice
        assert index is not None
        fields = self._delta_fields(delta)
        reason = delta.finish_reason if isinstance(delta, ChoiceFinished) else None
        if fields is None and (isinstance(delta, PartSigned | ExtraDelta) or index in self._begun):
            return
        is_first = isinstance(delta, PartStarted) and fields is None
        yield self._frame(index, fields or {}, reason, {} if is_first else waiting.pop(index, {}))

    def _delta_fields(
        self, delta: PartDelta | PartStarted | PartSigned | ExtraDelta | ChoiceFinished
    ) -> JSONObject | None:
        """Return what a delta adds to a choice, None for what clients need not be told."""
        match delta:
            case PartStarted():
                return self._start(delta)
            case PartDelta():
                self._note_thoughts(delta)
                return self._text_fields((delta.choice, delta.part), delta.text)
            case PartSigned():
                return self._signed_fields((delta.choice, delta.part), delta.signature)
            case ChoiceFinished():
                self._thoughts.clear()
                return {}
            case _:
                assert delta.choice is not None
                assert delta.part is not None
                return self._more_fields((delta.choice, delta.part), own_fields(delta.extra, FORMAT))

    def _start(self, delta: PartStarted) -> JSONObject | None:
        place, value = (delta.choice, delta.part), delta.value
        self._parts[place] = value
        if is_answer_call(value):
            return {"tool_calls": [self._numbered(place, "call", _call_object(value))]}
        if type(value) in _TEXT_FIELDS:
            return self._start_text(place, value) or None
        if isinstance(value, ImagePart):
            return {"images": [self._numbered(place, "image", encode_part(value))]}
        if is_content_part(value):
            return {"content_parts": [self._numbered(place, "content", content_part_object(value))]}
        return None

    def _start_text(self, place: tuple[int, int], value: Part) -> JSONObject:
        text = getattr(value, "text", "")
        fields = self._text_fields(place, text) if text else {}
        if block := encode_thinking_block(value) if isinstance(value, ReasoningPart) else None:
            return fields | self._block_fields(place, block)
        if isinstance(value, ReasoningPart):
            self._thoughts[place] = PiecedText()
            self._thoughts[place].add(text)
        return fields

    def _numbered(self, place: tuple[int, int], kind: str, item: JSONObject) -> JSONObject:
        """Return an item of a list with its number, by which clients put the pieces of lists together."""
        number = self._numbers[place] = self._counts[place[0], kind]
        self._counts[place[0], kind] += 1
        return {"index": number, **item} | {"index": number}

    def _block_fields(self, place: tuple[int, int], block: JSONObject) -> JSONObject:
        return {"extra_content": {"anthropic": {"thinking_blocks": [self._numbered(place, "thoughts", block)]}}}

    def _signed_fields(self, place: tuple[int, int], signature: Signature) -> JSONObject | None:
        value = self._parts.get(place)
        if isinstance(value, ToolCallPart):
            call = ToolCallPart(value.id, value.name, "", signature)
            signed = {key: item for key, item in encode_call(call).items() if key == "extra_content"}
            return self._call_fields(place, signed) if signed else None
        if not isinstance(value, ReasoningPart):
            return None
        thoughts = self._thoughts.pop(place, None)
        block = encode_thinking_block(ReasoningPart(thoughts.whole(), signature)) if thoughts else None
        return self._block_fields(place, block) if block else None

    def _more_fields(self, place: tuple[int, int], fields: Mapping[str, Any]) -> JSONObject | None:
        """Return what is added to a call; what is said of a text by its own format is nothing that clients know."""
        if not fields or place not in self._numbers or not is_answer_call(self._parts[place]):
            return None
        return self._call_fields(place, fields)

    def _call_fields(self, place: tuple[int, int], fields: Mapping[str, Any]) -> JSONObject:
        """Return a piece of a call; OpenAI's own client breaks at one of a function's that lacks `function`."""
        is_function = isinstance(self._parts[place], ToolCallPart)
        function = {"function": {"arguments": ""}} if is_function else {}
        return {"tool_calls": [{"index": self._numbers[place], **function, **fields}]}

    def _choice_object(self, index: int, fields: JSONObject, reason: str | None = None) -> JSONObject:
        return {"index": index, "delta": fields, "finish_reason": reason}

    def _frame(
        self, index: int, fields: JSONObject, reason: str | None = None, beside: Mapping[str, Any] | None = None
    ) -> bytes:
        """Render a chunk; the first of a choice tells the role, as clients expect it."""
        beside = dict(beside or {})
        logprobs = beside.pop("logprobs", None)
        first = {} if index in self._begun else {"role": "assistant", "content": ""}
        self._begun.add(index)
        choice = self._choice_object(index, {**first, **fields, **beside}, reason)
        if logprobs is not None:
            choice["logprobs"] = logprobs
        chunk = self._chunk([choice], self._once)
        self._once = {}
        return event_frame(chunk)

    def _chunk(self, choices: list[JSONObject], once: Mapping[str, Any] | None = None) -> JSONObject:
        return {
            **self._labels,
            **(once or {}),
            "id": self._head.id,
            "object": "chat.completion.chunk",
            "created": self._head.created_s,
            "model": self._model_name,
            "choices": choices,
            **({"usage": None} if self._wants_usage else {}),
        }

    def end(self, response: ChatResponse) -> bytes:
        if not (self._wants_usage and response.usage):
            return DONE
        self._labels = {}
        self._model_name = response.model_name or self._model_name
        return event_frame({**self._chunk([]), "usage": usage_object(response.usage)}) + DONE


def _call_object(part: Part) -> JSONObject:
    """Return a call as it begins: its arguments may all be still to come."""
    call = encode_call(part)
    if isinstance(part, ToolCallPart):
        call["function"]["arguments"] = part.arguments
    return call
