import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmhub.http.json_bounds import Excess, find_excess, glance


def find(text, *, max_values=10, max_depth=1000):
    return find_excess(text, max_values=max_values, max_depth=max_depth)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'"%b"' % (b"a," * 1000), id="commas in a text"),
        pytest.param(json.dumps('{"a":["b"]},' * 500).encode(), id="JSON in a text"),
        pytest.param(json.dumps("\\" * 999).encode(), id="backslashes"),
        pytest.param(b'["%b"]' % (b'\\\\\\"' * 500), id="escaped quotes behind backslashes"),
        pytest.param(b"[" + b" " * 1000 + b"]", id="spaces"),
        pytest.param(b"[1,2,3]", id="few"),
        pytest.param(b"", id="nothing"),
        pytest.param(b'"' + b"," * 50, id="a text without end"),
    ],
)
def test_what_stands_in_texts_is_no_value(text):
    assert find(text) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" + b"{}," * 20 + b"{}]", id="objects"),
        pytest.param(b"[" + b"1," * 20 + b"1]", id="numbers"),
        pytest.param(b"[" * 20, id="lists in lists"),
        pytest.param(b'{"a":' * 20, id="objects in objects"),
        pytest.param(b'["\\\\",' * 20, id="texts that end in a backslash"),
        pytest.param(b'"x",' * 20, id="texts"),
        pytest.param(b'["x"' + b',""' * 300 + b",[]" * 20, id="behind many texts"),
    ],
)
def test_many_values_are_too_many(text):
    assert find(text) is Excess.VALUES


@pytest.mark.parametrize("count", [9, 10])
def test_the_bound_itself_is_let_through(count):
    assert find(b"[" * count) == (Excess.VALUES if count > 9 else None)


@pytest.mark.parametrize(
    "text", [b"[" * 11, b'{"a":' * 11, b'["]",' * 11, b'["x","' + b'","' * 300 + b'"' + b',["]"' * 11]
)
def test_depth_is_counted_outside_of_texts(text):
    assert find(text, max_values=10_000, max_depth=10) is Excess.DEPTH
    assert find(text, max_values=10_000, max_depth=12) is None


documents = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\,[]{}é😀', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(alphabet='b"\\[{', max_size=3), inner, max_size=6)
    ),
    max_leaves=40,
)


def values_in(document):
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return 1 + sum(values_in(value) for value in inner)


def depth_of(document):
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else None
    return 0 if inner is None else 1 + max((depth_of(value) for value in inner), default=0)


@pytest.mark.slow
@given(st.lists(documents, max_size=6), st.booleans(), st.integers(0, 300))
def test_no_document_has_more_values_or_is_deeper_than_was_counted(document, is_ascii, texts):
    document = [*(["x"] * texts), *document]
    text = json.dumps(document, ensure_ascii=is_ascii).encode()
    values, depth = values_in(document), depth_of(document)

    assert glance(text)[0] >= values
    assert find(text, max_values=2 * values, max_depth=depth) is None
    assert find(text, max_values=values - 1, max_depth=depth) is Excess.VALUES
    assert find(text, max_values=2 * values, max_depth=depth - 1) is Excess.DEPTH
