"""Puts the deltas of a stream together, in the plainest way."""

from dataclasses import replace
from itertools import pairwise

import orjson
from hypothesis import HealthCheck, settings

from providers.types import (
    ChatResponse,
    Choice,
    ChoiceFinished,
    ExtraDelta,
    PartDelta,
    PartSigned,
    PartStarted,
    Passthrough,
    ReplyStarted,
    ToolCallPart,
    UsageTold,
)
from providers.wire.sse import NdjsonParser, SseParser

on_slow_machines_too = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def grown(part, text):
    field = "arguments" if isinstance(part, ToolCallPart) else "text"
    return replace(part, **{field: getattr(part, field) + text})


def merged(known, more):
    if known is None:
        return more
    return Passthrough(more.format, merged_fields(dict(known.fields), more.fields))


def merged_fields(known, more):
    for key, value in more.items():
        if isinstance(value, list) and isinstance(known.get(key), list):
            known[key] = known[key] + value
        elif isinstance(value, dict) and isinstance(known.get(key), dict):
            known[key] = merged_fields(dict(known[key]), value)
        else:
            known[key] = value
    return known


def assembled(deltas):
    parts, extras, reasons = {}, {}, {}
    response = ChatResponse(choices=())
    for delta in deltas:
        if isinstance(delta, PartStarted | PartDelta | PartSigned) or getattr(delta, "part", None) is not None:
            add_to_parts(parts, delta)
        elif isinstance(delta, ChoiceFinished):
            reasons[delta.choice] = (delta.finish_reason, delta.native_finish_reason)
        elif isinstance(delta, ExtraDelta) and delta.choice is not None:
            extras[delta.choice] = merged(extras.get(delta.choice), delta.extra)
        else:
            response = with_head(response, delta)
    indexes = sorted({index for index, _ in parts} | reasons.keys())
    choices = tuple(
        Choice(
            index=index,
            parts=tuple(part for (choice, _), part in sorted(parts.items(), key=lambda one: one[0]) if choice == index),
            finish_reason=reasons.get(index, (None, None))[0],
            native_finish_reason=reasons.get(index, (None, None))[1],
            extra=extras.get(index),
        )
        for index in indexes
    )
    return replace(response, choices=choices)


def add_to_parts(parts, delta):
    place = (delta.choice, delta.part)
    match delta:
        case PartStarted():
            assert place not in parts, "a part begins once"
            assert delta.part == len([one for one in parts if one[0] == delta.choice])
            parts[place] = delta.value
        case PartDelta():
            parts[place] = grown(parts[place], delta.text)
        case PartSigned():
            parts[place] = replace(parts[place], signature=delta.signature)
        case ExtraDelta():
            parts[place] = replace(parts[place], extra=merged(parts[place].extra, delta.extra))


def with_head(response, delta):
    if isinstance(delta, UsageTold):
        return replace(response, usage=delta.usage)
    if isinstance(delta, ReplyStarted):
        response = replace(
            response,
            model_name=delta.model_name or response.model_name,
            upstream_id=delta.upstream_id or response.upstream_id,
        )
    return replace(response, extra=merged(response.extra, delta.extra) if delta.extra else response.extra)


def decoded(decoder, frames):
    """Feed frames as objects."""
    return [delta for frame in frames for delta in decoder.decode(frame)]


def decoded_bytes(decoder, pieces):
    """Feed a stream as the bytes that came together."""
    parser = SseParser() if decoder.framing == "sse" else NdjsonParser()
    frames = [frame for piece in pieces for frame in parser.feed(piece)] + parser.flush()
    return decoded(decoder, [orjson.loads(frame) for frame in frames if frame != b"[DONE]"])


def cut(data, places):
    """Cut bytes at fractions of their length."""
    edges = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[one:two] for one, two in pairwise(edges)]


def deltas_of(response, *, pieces=3):
    """Return an answer as a stream of deltas: texts in pieces, the rest whole."""
    yield ReplyStarted(response.model_name or None, response.upstream_id)
    for choice in response.choices:
        for number, part in enumerate(choice.parts):
            yield from part_deltas(choice.index, number, part, pieces)
        if choice.extra:
            yield ExtraDelta(choice.index, choice.extra)
        yield ChoiceFinished(choice.index, choice.finish_reason, choice.native_finish_reason)
    if response.usage:
        yield UsageTold(response.usage)


def part_deltas(choice, number, part, pieces):
    field = "arguments" if isinstance(part, ToolCallPart) else "text"
    if not hasattr(part, field) or getattr(part, "is_redacted", False):
        yield PartStarted(choice, number, part)
        return
    text = getattr(part, field)
    signature = getattr(part, "signature", None)
    bare = replace(part, signature=None) if signature else part
    yield PartStarted(choice, number, replace(bare, **{field: ""}))
    size = max(1, -(-len(text) // pieces))
    for start in range(0, len(text), size):
        yield PartDelta(choice, number, text[start : start + size])
    if signature:
        yield PartSigned(choice, number, signature)
