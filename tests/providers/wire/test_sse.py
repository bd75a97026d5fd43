import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import MalformedReplyError
from providers.wire.sse import MAX_FRAME_BYTES, NdjsonParser, SseParser


def parsed(parser, *pieces):
    return [frame for piece in pieces for frame in parser.feed(piece)] + parser.flush()


def sse(*pieces):
    return parsed(SseParser(), *pieces)


@st.composite
def chunked(draw, content):
    """Split bytes anywhere."""
    data = draw(content)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return data, [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


LINES = [
    b"data: {}",
    b"data: {}\n\n",
    b"data:1",
    b"data",
    b"event: x",
    b": ping",
    b"",
    b"id: 1",
    b'{"a": 1}',
    b"\xef\xbb\xbf",
    b"nonsense",
]
STREAMS = st.lists(st.sampled_from([*LINES, b"\n", b"\r\n", b"\r", b"\n\n", "\u2028\u0085é".encode()])).map(b"".join)


@given(chunked(STREAMS | st.binary(max_size=200)))
def test_however_the_bytes_come_the_events_are_the_same(case):
    whole, pieces = case

    assert sse(*pieces) == sse(whole)
    assert parsed(NdjsonParser(), *pieces) == parsed(NdjsonParser(), whole)


@given(st.text(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_text_survives_inside_json(text, end):
    content = json.dumps({"t": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")

    [data] = sse(f"event: e{end}data: ".encode() + content + end.encode() * 2)
    [line] = parsed(NdjsonParser(), content + end.encode())

    assert data == line == content


@pytest.mark.parametrize(
    ("stream", "frames"),
    [
        pytest.param(b"data: 1\n\ndata: 2\n\n", [b"1", b"2"], id="two"),
        pytest.param(b"data:1\n\n", [b"1"], id="no-space"),
        pytest.param(b"data:  1\n\n", [b" 1"], id="one-space-only"),
        pytest.param(b"data: {\ndata: }\n\n", [b"{\n}"], id="joined"),
        pytest.param(b": ping\n\n:\ndata: 1\n\n", [b"1"], id="comments"),
        pytest.param(b"\xef\xbb\xbfdata: 1\n\n", [b"1"], id="bom"),
        pytest.param(b"event: x\ndata: 1\n\ndata: 2\n\n", [b"1", b"2"], id="named-events"),
        pytest.param(b"event: x\n\ndata: 1\n\n", [b"1"], id="event-without-data"),
        pytest.param(b"data: 1", [b"1"], id="unterminated-line"),
        pytest.param(b"data: 1\n", [b"1"], id="unterminated-frame"),
        pytest.param(b"data:\n\ndata\n\n", [], id="empty-data"),
        pytest.param(b"id: 7\nretry: 1\ndata: 1\n\n", [b"1"], id="other-fields"),
        pytest.param(b'{"error": 1}\n', [b'{"error": 1}'], id="bare-json"),
        pytest.param(b'{\n  "error": 1\n}\n\ndata: 1\n\n', [b'{\n  "error": 1\n}', b"1"], id="bare-lines"),
        pytest.param(b"<html>\n<p>no</p>\n", [], id="html"),
    ],
)
def test_server_sent_events_are_read_as_servers_write_them(stream, frames):
    assert sse(stream) == frames


def test_frames_come_out_as_soon_as_they_are_complete():
    parser = SseParser()

    assert parser.feed(b"data: 1\n") == []
    assert parser.feed(b"\nda") == [b"1"]
    assert parser.feed(b"ta: 2\r\n\r") == [b"2"]
    assert parser.feed(b"\n") == []


def test_a_line_end_that_comes_in_two_pieces_is_one():
    assert sse(b"data: 1\r", b"\ndata: 2\r\n\r", b"\n") == [b"1\n2"]


def test_blank_lines_between_json_lines_are_skipped():
    assert parsed(NdjsonParser(), b'{"a":1}\n\n \r\n{"b":2}') == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize("parser", [SseParser, NdjsonParser])
def test_a_line_that_does_not_end_is_refused(parser):
    piece = b"x" * (1024 * 1024)

    with pytest.raises(MalformedReplyError):
        parsed(parser(), *[piece] * (MAX_FRAME_BYTES // len(piece) + 1))


def test_a_frame_that_does_not_end_is_refused():
    line = b"data: " + b"x" * (1024 * 1024) + b"\n"

    with pytest.raises(MalformedReplyError):
        sse(*[line] * 9)
