import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import AnswerTooLargeError, MalformedReplyError
from providers.wire.accumulator import Accumulator
from providers.wire.frames import FrameDecoder, load_frame, load_json
from providers.wire.google import GoogleStreamDecoder
from providers.wire.openai_chat import ChatStreamDecoder


def streamed(decoder, *frames, is_over=True):
    frame_decoder, accumulator = FrameDecoder(decoder), Accumulator()
    for frame in frames:
        accumulator.take(frame_decoder.decode(frame))
    if is_over:
        accumulator.take(frame_decoder.end_mark())
    accumulator.check()
    assert frame_decoder.is_finished
    return accumulator.response().choices[0]


def chunk(text):
    """A chunk whose text is written as JSON."""
    return b'{"choices":[{"index":0,"delta":{"content":"' + text + b'"}}]}'


def call_chunk(arguments, head=b""):
    return b'{"choices":[{"delta":{"tool_calls":[{"index":0,' + head + b'"function":{' + arguments + b"}}]}}]}"


STOP = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        pytest.param([rb"A\ud83d", rb"\ude00B"], "A\U0001f600B", id="halves"),
        pytest.param([rb"A\uD83D", rb"\uDE00B"], "A\U0001f600B", id="halves-in-capitals"),
        pytest.param([rb"\ud83d", rb"\ude00\ud83d", rb"\ude00"], "\U0001f600\U0001f600", id="twice"),
        pytest.param([rb"A\ud83d", b"B"], "A\ufffdB", id="first-half-alone"),
        pytest.param([b"A", rb"\ude00B"], "A\ufffdB", id="second-half-alone"),
        pytest.param([rb"A\ud83dB"], "A\ufffdB", id="half-within-a-text"),
        pytest.param([b"A", rb"B\ud83d"], "AB\ufffd", id="half-at-the-end"),
        pytest.param([rb"\ud55c\uae00", "é".encode()], "한글é", id="no-halves-at-all"),
        pytest.param([b"A", b"B\xf0\x9f"], "AB\ufffd", id="broken-utf-8"),
        pytest.param([b"A", b"B\tC"], "AB\tC", id="control-character"),
    ],
)
def test_a_text_comes_whole_whatever_its_pieces_were_cut_at(texts, whole):
    choice = streamed(ChatStreamDecoder(), *map(chunk, texts), STOP)

    assert choice.text == whole
    json.dumps(choice.text).encode()


def test_half_a_character_is_not_lost_where_done_ends_the_answer():
    assert streamed(ChatStreamDecoder(), chunk(rb"A"), chunk(rb"B\ud83d")).text == "AB\ufffd"


def test_arguments_of_a_call_come_whole():
    head = b'"id":"c","type":"function",'
    choice = streamed(
        ChatStreamDecoder(),
        call_chunk(rb'"name":"f","arguments":"{\"q\":\"\ud83d"', head),
        call_chunk(rb'"arguments":"\ude00"'),
        call_chunk(rb'"arguments":"\"}"'),
        STOP,
    )

    assert choice.parts[0].arguments == '{"q":"\U0001f600"}'


def test_another_format_is_mended_alike():
    def frame(text, more=b""):
        return b'{"candidates":[{"content":{"role":"model","parts":[{"text":"' + text + b'"}]}' + more + b"}]}"

    choice = streamed(GoogleStreamDecoder(), frame(rb"A\ud83d"), frame(rb"\ude00B", b',"finishReason":"STOP"'))

    assert choice.text == "A\U0001f600B"


def test_numbers_that_are_none_are_read():
    frame = b'{"choices":[{"index":0,"delta":{"content":"A"},"logprobs":{"content":[{"logprob":-Infinity}]}}]}'

    choice = streamed(ChatStreamDecoder(), frame, STOP)

    assert choice.text == "A"


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(categories=["L", "So", "Cs"]), max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_a_text_of_escapes_is_the_same_in_pieces_and_whole(text, cuts):
    units = text.encode("utf-16-le", "surrogatepass")
    escapes = [b"\\u%04x" % int.from_bytes(units[at : at + 2], "little") for at in range(0, len(units), 2)]
    edges = [0, *sorted(min(cut, len(escapes)) for cut in cuts), len(escapes)]
    pieces = [b"".join(escapes[one:two]) for one, two in pairwise(edges)]

    choice = streamed(ChatStreamDecoder(), *map(chunk, [b"x", *pieces]), STOP)

    assert choice.text == "x" + units.decode("utf-16-le", "replace")


@pytest.mark.parametrize(
    "data", [b"hello", b"{", b'{"a":1', b"", b"[" * 5000, b'{"a":' * 900 + b"1" + b"}" * 900, b"1" * 5000 + b"x"]
)
def test_what_cannot_be_read_is_an_error(data):
    with pytest.raises(MalformedReplyError):
        load_frame(data)
    with pytest.raises(MalformedReplyError):
        load_json(data)


@pytest.mark.parametrize("data", [b"[]", b"5", b'"a"', b"null", b"[1]", b"[{},{}]"])
def test_a_frame_is_an_object(data):
    with pytest.raises(MalformedReplyError):
        load_frame(data)


def test_an_object_in_a_list_of_one_is_a_frame():
    assert load_frame(b'[{"error":{}}]') == {"error": {}}


def test_more_values_than_are_worth_their_memory_are_refused():
    with pytest.raises(AnswerTooLargeError):
        load_frame(b'{"a":[' + b"0," * 1_000_001 + b"0]}")


def test_a_whole_reply_holds_no_half_of_a_character():
    assert load_json(rb'{"a\ud83d":["\ude00", "\ud83d\ude00"]}') == {"a\ufffd": ["\ufffd", "\U0001f600"]}


def test_errors_do_not_repeat_what_was_sent():
    with pytest.raises(MalformedReplyError) as caught:
        load_frame(b'{"canary": 1,}')

    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
