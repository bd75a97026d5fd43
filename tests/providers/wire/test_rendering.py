import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.rendering import PING, dump_json, event_frame

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
LINE_ENDS = ["\n", "\r", "\r\n", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]


@given(JSON)
def test_what_is_dumped_is_read_again_as_it_was(value):
    assert json.loads(dump_json(value)) == value


@given(JSON)
def test_what_is_dumped_is_one_line_for_every_client(value):
    assert len(dump_json(value).decode().splitlines()) == 1


@pytest.mark.parametrize("end", LINE_ENDS)
def test_a_line_end_within_a_text_ends_no_line(end):
    text = f"before{end}after"

    frame = event_frame({"content": text})

    assert frame.decode().splitlines() == [frame.decode().removesuffix("\n\n"), ""]
    assert json.loads(frame.removeprefix(b"data: ")) == {"content": text}


@pytest.mark.parametrize("key", ["\u2028", "a\u0085b"])
def test_a_line_end_within_a_name_is_escaped_too(key):
    assert json.loads(dump_json({key: 1})) == {key: 1}
    assert len(dump_json({key: 1}).decode().splitlines()) == 1


@pytest.mark.parametrize("text", ["¥…é", "\u2027\u202a", "\u0084\u0086", "𝄞", "日本語"])
def test_the_neighbours_of_line_ends_stay_as_they_are(text):
    assert dump_json(text) == f'"{text}"'.encode()


def test_a_frame_is_its_data_and_a_blank_line():
    assert event_frame({"a": 1}) == b'data: {"a":1}\n\n'


def test_a_named_frame_begins_with_its_event():
    assert event_frame({"a": 1}, event="done") == b'event: done\ndata: {"a":1}\n\n'


def test_a_ping_is_a_comment():
    assert PING.startswith(b":")
    assert PING.endswith(b"\n\n")
