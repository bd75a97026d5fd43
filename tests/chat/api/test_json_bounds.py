import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.api import json_bounds
from chat.api.json_bounds import LARGE_BYTES, MANY_ITEMS, MAX_DEPTH, MAX_ITEMS, is_large, weigh
from chat.api.reading import BadRequestError


def code_of(body):
    with pytest.raises(BadRequestError) as refused:
        weigh(body)
    return refused.value.code


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[" + b"1," * (MAX_ITEMS - 3) + b"1]", id="as many values as may be"),
        pytest.param(b'{"a":"' + b",[{" * MAX_ITEMS + b'"}', id="a text full of marks"),
        pytest.param(b'{"a":"' + b'\\",[{' * MAX_ITEMS + b'"}', id="a text full of marks and quotes"),
        pytest.param(
            b'{"a":"' + b"\\\\" * MAX_ITEMS + b'","b":"' + b"[" * MAX_ITEMS + b'"}', id="backslashes at the end"
        ),
        pytest.param(nested(MAX_DEPTH), id="as deep as may be"),
        pytest.param(b"[" + b",".join([nested(3)] * 1000) + b"]", id="many, none deep"),
    ],
)
def test_what_keeps_the_bounds_passes(body):
    weigh(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" + b"{}," * MAX_ITEMS + b"1]", id="objects"),
        pytest.param(b"[" + b"1," * MAX_ITEMS + b"1]", id="numbers"),
        pytest.param(b'[""' + b',""' * MAX_ITEMS + b"]", id="strings"),
        pytest.param(b'{"a":0' + b',"a":0' * MAX_ITEMS + b"}", id="members of one name"),
        pytest.param(b'"' * 2 * MAX_ITEMS * 3 + b"," * MAX_ITEMS, id="strings without anything between"),
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


documents = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\,[]{}é😀', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(alphabet='b"\\[{', max_size=3), inner, max_size=6)
    ),
    max_leaves=40,
)


def size_of(document):
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return 1 + sum(size_of(value) for value in inner)


def depth_of(document):
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else None
    return 0 if inner is None else 1 + max((depth_of(value) for value in inner), default=0)


@given(st.lists(documents, max_size=6), st.booleans())
def test_no_document_has_more_values_or_is_deeper_than_was_counted(document, is_ascii):
    body = json.dumps(document, ensure_ascii=is_ascii).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_bounds, "MAX_ITEMS", 2 * size_of(document))
        patch.setattr(json_bounds, "MAX_DEPTH", depth_of(document))
        json_bounds._look_closer(body)
        patch.setattr(json_bounds, "MAX_ITEMS", size_of(document) - 1)
        with pytest.raises(BadRequestError):
            json_bounds._look_closer(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"x" * LARGE_BYTES, False, id="a text"),
        pytest.param(b"x" * (LARGE_BYTES + 1), True, id="a longer one"),
        pytest.param(b"[" + b"{}," * MANY_ITEMS + b"1]", False, id="few bytes"),
        pytest.param(b"[" + b"{},     " * MANY_ITEMS + b"1]", True, id="many values"),
    ],
)
def test_what_takes_long_is_large(body, expected):
    assert is_large(body) is expected


def test_wide_characters_and_many_values_need_more_room():
    narrow, wide, wider = (f'["{"x" * 100_000}{char}"]'.encode() for char in ("x", "Ж", "😀"))
    escaped = json.dumps(["x" * 100_000 + "😀"]).encode()

    assert weigh(narrow) < weigh(wide) < weigh(wider)
    assert weigh(escaped) >= weigh(wider)
    assert weigh(b"[" + b"{}," * 50_000 + b"1]") > 50_000 * 64
