import json

import pytest

from chat.gateway.body_room import MANY_VALUES, MAX_DEPTH, MAX_VALUES, check_bounds, is_large, room_beyond
from llmhub.runtime.large_work import LARGE_BYTES
from providers.wire.validation import BadRequestError


def code_of(body):
    with pytest.raises(BadRequestError) as refused:
        check_bounds(body)
    return refused.value.code


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[" + b"1," * (MAX_VALUES - 3) + b"1]", id="as many values as may be"),
        pytest.param(b'{"a":"' + b",[{" * MAX_VALUES + b'"}', id="a text full of marks"),
        pytest.param(b'{"a":"' + b'\\",[{' * MAX_VALUES + b'"}', id="a text full of marks and quotes"),
        pytest.param(
            b'{"a":"' + b"\\\\" * MAX_VALUES + b'","b":"' + b"[" * MAX_VALUES + b'"}', id="backslashes at the end"
        ),
        pytest.param(nested(MAX_DEPTH), id="as deep as may be"),
        pytest.param(b"[" + b",".join([nested(3)] * 1000) + b"]", id="many, none deep"),
    ],
)
def test_what_keeps_the_bounds_passes(body):
    check_bounds(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" + b"{}," * MAX_VALUES + b"1]", id="objects"),
        pytest.param(b"[" + b"1," * MAX_VALUES + b"1]", id="numbers"),
        pytest.param(b'[""' + b',""' * MAX_VALUES + b"]", id="strings"),
        pytest.param(b'{"a":0' + b',"a":0' * MAX_VALUES + b"}", id="members of one name"),
        pytest.param(b'"' * 2 * MAX_VALUES * 3 + b"," * MAX_VALUES, id="strings without anything between"),
    ],
)
def test_too_many_values_are_refused(body):
    assert code_of(body) == "too_many_json_values"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(nested(MAX_DEPTH + 1), id="lists"),
        pytest.param(b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), id="objects"),
        pytest.param(b'["]",' * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1), id="closed in texts only"),
        pytest.param(b"[" * 1_000_000, id="never closed"),
    ],
)
def test_what_is_nested_too_deeply_is_refused(body):
    assert code_of(body) == "json_too_deep"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"x" * LARGE_BYTES, False, id="a text"),
        pytest.param(b"x" * (LARGE_BYTES + 1), True, id="a longer one"),
        pytest.param(b"[" + b"{}," * MANY_VALUES + b"1]", False, id="few bytes"),
        pytest.param(b"[" + b"{},     " * MANY_VALUES + b"1]", True, id="many values"),
    ],
)
def test_what_takes_long_is_large(body, expected):
    assert is_large(body) is expected


def test_wide_characters_and_many_values_need_more_room():
    narrow, wide, wider = (f'["{"x" * 100_000}{char}"]'.encode() for char in ("x", "Ж", "😀"))
    escaped = json.dumps(["x" * 100_000 + "😀"]).encode()

    assert room_beyond(narrow) < room_beyond(wide) < room_beyond(wider)
    assert room_beyond(escaped) >= room_beyond(wider)
    assert room_beyond(b"[" + b"{}," * 50_000 + b"1]") > 50_000 * 64
