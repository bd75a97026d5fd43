"""Answers of the Responses API as events.

Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from providers.types import (
    ChatResponse,
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
    UsageTold,
)
from providers.wire.codec import ReplyHead, StreamDecoder, StreamEncoder
from providers.wire.foreign import own_fields
from providers.wire.json_access import (
    count_or_none,
    object_at,
    object_or_empty,
    objects_at,
    text_or_none,
)
from providers.wire.openai_errors import decode_error
from providers.wire.openai_responses_answers import (
    INCOMPLETE_REASONS,
    REPLY_KEYS,
    check_answered,
    decode_output,
    encode_reply,
    find_usage,
    finish_reason_of,
    logprobs_extra,
    response_object,
    without_logprobs,
)
from providers.wire.openai_responses_items import (
    FORMAT,
    answer_content,
    call_object,
    decode_call,
    find_answer_item,
    is_content,
    item_id,
    message_object,
    phase_of,
    reasoning_item,
    rest_of,
    with_field,
)
from providers.wire.rendering import dump_json, event_frame


class ResponsesStreamDecoder(StreamDecoder):
    """Translates the events of one answer, whose end is the event with all of it; what it tells anew is added."""

    ends_at_finish: ClassVar[bool] = True

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], int] = {}
        self._begun: list[Part] = []
        self._has_text: set[int] = set()
        self._items: dict[int, JSONObject] = {}
        self._whole_items: set[int] = set()
        self._is_begun = False

    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        type_ = frame.get("type")
        if type_ == "response.output_text.delta":
            place = self._places.get((frame.get("output_index", 0), frame.get("content_index", 0)))
            text = frame.get("delta")
            if place is not None and place in self._has_text and type(text) is str and not frame.get("logprobs"):
                return (PartDelta(0, place, text),)
        return list(self._decode(type_, frame))

    def _decode(self, type_: Any, frame: JSONObject) -> Iterator[Delta]:
        index = count_or_none(frame.get("output_index")) or 0
        if type_ in ("error", "response.failed"):
            raise decode_error(200, object_at(frame, "response") or frame)
        if type_ in ("response.completed", "response.incomplete"):
            yield from self._finish(object_at(frame, "response"))
        elif type_ in ("response.created", "response.in_progress"):
            yield from self._begin(object_at(frame, "response"))
        elif type_ == "response.output_item.added":
            self._items[index] = object_at(frame, "item")
            yield from self._add_item(index, self._items[index])
        elif type_ == "response.output_item.done":
            yield from self._end_item(index, object_at(frame, "item"))
        elif type_ in _TEXT_DELTAS:
            yield from self._add_text(index, frame, _TEXT_DELTAS[type_])
        elif type_ == "response.reasoning_summary_part.added" and count_or_none(frame.get("summary_index")):
            yield from self._add_text(index, {"delta": "\n\n"}, ReasoningPart(""))

    def _begin(self, response: JSONObject) -> Iterator[Delta]:
        if not self._is_begun:
            self._is_begun = True
            yield ReplyStarted(text_or_none(response.get("model")), text_or_none(response.get("id")))

    def _add_item(self, index: int, item: JSONObject) -> Iterator[Delta]:
        """Begin a call or thoughts; texts begin with their first word, what comes whole with its end."""
        if item.get("type") == "function_call":
            yield self._start((index, 0), replace(decode_call(item), arguments=""))
        elif item.get("type") == "reasoning":
            yield self._start((index, 0), ReasoningPart("", id=text_or_none(item.get("id"))))

    def _start(self, key: tuple[int, int], part: Part) -> PartStarted:
        place = self._places[key] = len(self._begun)
        self._begun.append(part)
        return PartStarted(0, place, part)

    def _add_text(self, index: int, frame: JSONObject, kind: Part) -> Iterator[Delta]:
        """Add to a part; one that nothing has begun begins here, but for a call, which needs its name."""
        text = text_or_none(frame.get("delta"))
        is_in_message = isinstance(kind, TextPart | RefusalPart)
        key = (index, (count_or_none(frame.get("content_index")) or 0) if is_in_message else 0)
        if not text or (isinstance(kind, ToolCallPart) and key not in self._places):
            return
        if key not in self._places:
            phase = object_or_empty(self._items.get(index)).get("phase")
            yield self._start(key, kind if phase is None else with_field(kind, "phase", phase))
        place = self._places[key]
        self._has_text.add(place)
        yield PartDelta(0, place, text)
        if tokens := objects_at(frame, "logprobs"):
            yield ExtraDelta(0, logprobs_extra(tokens))

    def _end_item(self, index: int, item: JSONObject) -> Iterator[Delta]:
        """Add what an item tells beyond what was told of it before, which may be all of it."""
        self._whole_items.add(index)
        for number, whole in enumerate(decode_output(item)):
            part = without_logprobs(whole)
            is_told = self._places.get((index, number)) in self._has_text
            if not isinstance(part, TextPart | RefusalPart | ReasoningPart | ToolCallPart):
                yield self._start((index, number), part)
                continue
            if (index, number) not in self._places:
                yield self._start((index, number), _emptied(part))
            yield from self._end_part(self._places[index, number], part)
            if not is_told and (tokens := own_fields(getattr(whole, "extra", None), FORMAT).get("logprobs")):
                yield ExtraDelta(0, logprobs_extra(tokens))

    def _end_part(self, place: int, part: TextPart | RefusalPart | ReasoningPart | ToolCallPart) -> Iterator[Delta]:
        text = part.arguments if isinstance(part, ToolCallPart) else part.text
        if text and place not in self._has_text:
            yield PartDelta(0, place, text)
        signature = None if isinstance(part, RefusalPart) else part.signature
        if signature is not None and getattr(self._begun[place], "signature", None) is None:
            yield PartSigned(0, place, signature)
        known = getattr(self._begun[place], "extra", None)
        if part.extra is not None and (more := rest_of(part.extra.fields, known.fields if known else ())):
            yield ExtraDelta(0, more, place)

    def _finish(self, response: JSONObject) -> Iterator[Delta]:
        check_answered({"output": [], **response})
        yield from self._begin(response)
        for index, item in enumerate(objects_at(response, "output")):
            if index not in self._whole_items:
                yield from self._end_item(index, item)
        if extra := rest_of(response, REPLY_KEYS):
            yield ExtraDelta(None, extra)
        if usage := find_usage(response):
            yield UsageTold(usage)
        yield ChoiceFinished(0, *finish_reason_of(response, self._begun))
        self.is_finished = True


_TEXT_DELTAS: Mapping[str, Part] = {
    "response.output_text.delta": TextPart(""),
    "response.refusal.delta": RefusalPart(""),
    "response.reasoning_summary_text.delta": ReasoningPart(""),
    "response.reasoning_text.delta": ReasoningPart(""),
    "response.function_call_arguments.delta": ToolCallPart("", "", ""),
}


def _emptied(part: TextPart | RefusalPart | ReasoningPart | ToolCallPart) -> Part:
    if isinstance(part, ToolCallPart):
        return replace(part, arguments="")
    return replace(part, text="") if isinstance(part, RefusalPart) else replace(part, text="", signature=None)


class _OpenPart:
    """A part of a served stream that may go on. Shape: `head` is what stands before the text of each of its deltas."""

    __slots__ = ("content_index", "head", "item_id", "output_index", "pieces", "value")

    def __init__(self, value: Part, item_id: str, output_index: int, content_index: int) -> None:
        self.value = value
        self.item_id = item_id
        self.output_index = output_index
        self.content_index = content_index
        self.pieces: list[str] = []
        type_, fields = self._delta_event()
        event = dump_json({"type": type_, "item_id": item_id, "output_index": output_index, **fields})
        self.head = b'event: %b\ndata: %b,"delta":' % (type_.encode(), event[:-1])

    def _delta_event(self) -> tuple[str, JSONObject]:
        match self.value:
            case TextPart():
                return "response.output_text.delta", {"content_index": self.content_index, "logprobs": []}
            case RefusalPart():
                return "response.refusal.delta", {"content_index": self.content_index}
            case ReasoningPart():
                return "response.reasoning_summary_text.delta", {"summary_index": 0}
            case _:
                return "response.function_call_arguments.delta", {}

    def text(self) -> str:
        return "".join(self.pieces)


class ResponsesStreamEncoder(StreamEncoder):
    """Renders the first choice as events; calls stay open until the end, as their pieces may come in turns."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._sequence = 0
        self._model_name: str | None = None
        self._is_begun = False
        self._outputs = 0
        self._open: dict[int, _OpenPart] = {}
        self._message: JSONObject | None = None
        self._message_index = 0

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        frames: list[bytes] = []
        for delta in deltas:
            if type(delta) is PartDelta:
                if delta.choice == 0 and (part := self._open.get(delta.part)) is not None:
                    if not part.pieces and isinstance(part.value, ReasoningPart):
                        frames.append(self._summary_event("added", part, ""))
                    frames.append(self._delta_frame(part, delta.text))
            else:
                frames += self._frames(delta)
        return b"".join(frames)

    def _delta_frame(self, part: _OpenPart, text: str) -> bytes:
        part.pieces.append(text)
        number = self._sequence
        self._sequence = number + 1
        return b'%b%b,"sequence_number":%d}\n\n' % (part.head, dump_json(text), number)

    def _frames(self, delta: Delta) -> Iterator[bytes]:
        match delta:
            case ReplyStarted():
                self._model_name = delta.model_name or self._model_name
            case PartStarted(choice=0):
                yield from self._begin()
                yield from self._start(delta.part, delta.value)
            case PartSigned(choice=0) if (part := self._open.get(delta.part)) is not None:
                if isinstance(part.value, ReasoningPart | ToolCallPart):
                    part.value = replace(part.value, signature=delta.signature)
            case ExtraDelta(choice=0, part=int(place)) if (part := self._open.get(place)) is not None:
                yield from self._annotate(part, delta.extra)
            case ChoiceFinished(choice=0):
                yield from self._close_all("incomplete" if delta.finish_reason in INCOMPLETE_REASONS else "completed")

    def _event(self, type_: str, **fields: Any) -> bytes:
        number = self._sequence
        self._sequence = number + 1
        return event_frame({"type": type_, **fields, "sequence_number": number}, event=type_)

    def _begin(self) -> Iterator[bytes]:
        if self._is_begun:
            return
        self._is_begun = True
        response = response_object(self._head, model_name=self._model_name, status="in_progress")
        yield self._event("response.created", response=response)
        yield self._event("response.in_progress", response=response)

    def _start(self, place: int, value: Part) -> Iterator[bytes]:
        if is_content(value):
            yield from self._start_content(place, value)
            return
        yield from self._close_texts()
        index = self._outputs
        item = find_answer_item(value, self._head, index)
        if item is None:
            return
        self._outputs += 1
        if not isinstance(value, ReasoningPart | ToolCallPart):
            yield from self._whole_item(index, item)
            return
        self._open[place] = _OpenPart(value, item["id"], index, 0)
        yield self._event("response.output_item.added", output_index=index, item=item | _blank(value))
        text = value.text if isinstance(value, ReasoningPart) else value.arguments
        if text:
            yield self.encode([PartDelta(0, place, text)])

    def _start_content(self, place: int, value: Part) -> Iterator[bytes]:
        phase = phase_of(value)
        if self._message is None or self._message.get("phase") != phase:
            yield from self._close_texts()
            self._message_index = self._outputs
            self._outputs += 1
            self._message = message_object(item_id("msg", self._head, self._message_index), phase, "in_progress")
            yield self._event("response.output_item.added", output_index=self._message_index, item=self._message)
        else:
            yield from self._close_contents()
        content = answer_content(value)
        index = len(self._message["content"])
        part = _OpenPart(value, self._message["id"], self._message_index, index)
        blank = content | {key: "" for key in ("text", "refusal") if key in content}
        yield self._event("response.content_part.added", **self._content_place(part), part=blank)
        if not isinstance(value, TextPart | RefusalPart):
            self._message["content"].append(content)
            yield self._event("response.content_part.done", **self._content_place(part), part=content)
            return
        self._open[place] = part
        if value.text:
            yield self._delta_frame(part, value.text)

    def _content_place(self, part: _OpenPart) -> JSONObject:
        return {"item_id": part.item_id, "output_index": part.output_index, "content_index": part.content_index}

    def _whole_item(self, index: int, item: JSONObject) -> Iterator[bytes]:
        begun = {key: value for key, value in item.items() if key != "result"}
        if "status" in begun:
            begun["status"] = "in_progress"
        yield self._event("response.output_item.added", output_index=index, item=begun)
        if item.get("type") == "image_generation_call":
            place = {"output_index": index, "item_id": item["id"]}
            yield self._event("response.image_generation_call.in_progress", **place)
            yield self._event("response.image_generation_call.completed", **place)
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _annotate(self, part: _OpenPart, extra: Passthrough) -> Iterator[bytes]:
        known = own_fields(getattr(part.value, "extra", None), FORMAT)
        annotations = list(own_fields(extra, FORMAT).get("annotations", ()))
        if not annotations or not isinstance(part.value, TextPart):
            return
        before = known.get("annotations", [])
        part.value = replace(part.value, extra=Passthrough(FORMAT, {**known, "annotations": [*before, *annotations]}))
        for number, annotation in enumerate(annotations, len(before)):
            place = {**self._content_place(part), "annotation_index": number}
            yield self._event("response.output_text.annotation.added", **place, annotation=annotation)

    def _close_all(self, status: str) -> Iterator[bytes]:
        """End what is open; only the last item may be incomplete."""
        yield from self._close_texts(status)
        for place in list(self._open):
            yield from self._close_item(self._open.pop(place), status)

    def _close_texts(self, status: str = "completed") -> Iterator[bytes]:
        yield from self._close_contents()
        if self._message is not None:
            message, self._message = self._message, None
            message["status"] = self._status_of(self._message_index, status)
            yield self._event("response.output_item.done", output_index=self._message_index, item=message)
        for place in [place for place, part in self._open.items() if isinstance(part.value, ReasoningPart)]:
            yield from self._close_item(self._open.pop(place), status)

    def _status_of(self, output_index: int, status: str) -> str:
        return status if output_index == self._outputs - 1 else "completed"

    def _close_contents(self) -> Iterator[bytes]:
        for place in [place for place, part in self._open.items() if isinstance(part.value, TextPart | RefusalPart)]:
            part = self._open.pop(place)
            assert isinstance(part.value, TextPart | RefusalPart)
            assert self._message is not None
            content = answer_content(replace(part.value, text=part.text()))
            self._message["content"].append(content)
            kind, field = ("output_text", "text") if isinstance(part.value, TextPart) else ("refusal", "refusal")
            told = {field: content[field]} | ({"logprobs": []} if field == "text" else {})
            yield self._event(f"response.{kind}.done", **self._content_place(part), **told)
            yield self._event("response.content_part.done", **self._content_place(part), part=content)

    def _close_item(self, part: _OpenPart, status: str) -> Iterator[bytes]:
        place = {"item_id": part.item_id, "output_index": part.output_index}
        text = part.text()
        if isinstance(part.value, ToolCallPart):
            call = {"name": part.value.name, "arguments": text}
            yield self._event("response.function_call_arguments.done", **place, **call)
            status = self._status_of(part.output_index, status)
            item = call_object(part.value, part.item_id, status=status, arguments=text)
        else:
            assert isinstance(part.value, ReasoningPart)
            if part.pieces:
                yield self._event("response.reasoning_summary_text.done", **place, summary_index=0, text=text)
                yield self._summary_event("done", part, text)
            item = reasoning_item(replace(part.value, text=text), part.item_id)
        yield self._event("response.output_item.done", output_index=part.output_index, item=item)

    def _summary_event(self, what: str, part: _OpenPart, text: str) -> bytes:
        summary = {"type": "summary_text", "text": text}
        place = {"item_id": part.item_id, "output_index": part.output_index, "summary_index": 0}
        return self._event(f"response.reasoning_summary_part.{what}", **place, part=summary)

    def end(self, response: ChatResponse) -> bytes:
        self._model_name = self._model_name or response.model_name
        whole = encode_reply(response, self._head)
        frames = [*self._begin(), *self._close_all(whole["status"])]
        return b"".join([*frames, self._event(f"response.{whole['status']}", response=whole)])

    def fail(self, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
        """Render what ends a stream that broke."""
        error = {"code": code or "server_error", "message": message}
        response = response_object(self._head, model_name=self._model_name, status="failed", error=error)
        frames = [*self._begin(), self._event("error", code=code, message=message, param=param)]
        return b"".join([*frames, self._event("response.failed", response=response)])


def _blank(value: ReasoningPart | ToolCallPart) -> JSONObject:
    """Return what an item lacks when it begins."""
    if isinstance(value, ToolCallPart):
        return {"status": "in_progress", "arguments": ""}
    return {"summary": [], "encrypted_content": None}
