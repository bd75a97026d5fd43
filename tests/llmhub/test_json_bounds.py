import json

import pytest

from llmhub.json_bounds import has_too_many_items


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
    ],
)
def test_what_stands_in_texts_is_no_item(text):
    assert not has_too_many_items(text, max_items=10)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" + b"{}," * 20 + b"{}]", id="objects"),
        pytest.param(b"[" + b"1," * 20 + b"1]", id="numbers"),
        pytest.param(b"[" * 20, id="lists in lists"),
        pytest.param(b'{"a":' * 20, id="objects in objects"),
        pytest.param(b'["\\\\",' * 20, id="texts that end in a backslash"),
        pytest.param(b'"a"' * 20, id="texts"),
    ],
)
def test_many_items_are_too_many(text):
    assert has_too_many_items(text, max_items=10)


def test_a_text_without_end_hides_nothing_that_could_be_read():
    assert not has_too_many_items(b'"' + b"," * 5, max_items=10)


@pytest.mark.parametrize("count", [10, 11])
def test_the_bound_itself_is_let_through(count):
    assert has_too_many_items(b"[" * count + b" " * 20, max_items=10) == (count > 10)
