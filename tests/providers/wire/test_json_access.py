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
        *((json_access.find_count, wrong) for wrong in (-1, 2**53, 1.0, True, "1", [])),
    ],
)
def test_a_value_of_another_shape_is_a_malformed_reply(read, wrong):
    with pytest.raises(MalformedReplyError, match="`a`"):
        read({"a": wrong}, "a")
