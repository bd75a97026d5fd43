import pytest

from providers.errors import MalformedReplyError
from providers.wire import json_access


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (json_access.object_at, {"b": 1}),
        (json_access.objects_at, [{"b": 1}]),
        (json_access.list_at, [1, "b"]),
        (json_access.find_text, ""),
        (json_access.text_at, "b"),
        (json_access.find_count, 0),
        (json_access.count_at, 7),
    ],
)
def test_a_value_of_the_right_shape_is_returned(read, value):
    assert read({"a": value}, "a") == value


@pytest.mark.parametrize(
    ("read", "nothing"),
    [
        (json_access.object_at, {}),
        (json_access.objects_at, []),
        (json_access.list_at, []),
        (json_access.find_text, None),
        (json_access.find_count, None),
        (json_access.count_at, 0),
    ],
)
def test_null_is_the_same_as_absent(read, nothing):
    assert read({}, "a") == read({"a": None}, "a") == nothing


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        *((json_access.object_at, wrong) for wrong in (0, "", "text", True, [])),
        *((json_access.objects_at, wrong) for wrong in ({}, "text", [None], ["text"])),
        *((json_access.list_at, wrong) for wrong in ({}, 0, "text")),
        *((json_access.find_text, wrong) for wrong in (0, False, [], {})),
        *((json_access.text_at, wrong) for wrong in (None, "", 0, [])),
        *((json_access.find_count, wrong) for wrong in (-1, 2**53, 1.5, True, "1", [])),
    ],
)
def test_a_value_of_another_shape_is_a_malformed_reply(read, wrong):
    with pytest.raises(MalformedReplyError, match="`a`"):
        read({"a": wrong}, "a")


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, 0), (131072.0, 131072), (1.5, None), (-1, None), (-1.0, None), (True, None), ("7", None), (2.0**60, None)],
)
def test_a_count_may_be_written_with_a_point(value, count):
    assert json_access.count_or_none(value) == count


@pytest.mark.parametrize(
    ("value", "label"),
    [("a", "a"), (12345, "12345"), (1.5, "1.5"), ("", None), (True, None), (None, None), ([], None), ({}, None)],
)
def test_a_label_may_be_a_number(value, label):
    assert json_access.label_or_none(value) == label


@pytest.mark.parametrize(("value", "objects"), [([{}, 1, {"a": 1}], [{}, {"a": 1}]), ({}, []), ("x", []), (None, [])])
def test_what_is_no_object_is_left_out_of_a_forgiving_list(value, objects):
    assert json_access.objects_or_empty(value) == objects
