import pytest

from providers.backends import shapes
from providers.errors import MalformedReplyError


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (shapes.object_at, {"b": 1}),
        (shapes.objects_at, [{"b": 1}]),
        (shapes.list_at, [1, "b"]),
        (shapes.find_text, ""),
        (shapes.text_at, "b"),
        (shapes.find_count, 0),
        (shapes.count_at, 7),
    ],
)
def test_a_value_of_the_right_shape_is_returned(read, value):
    assert read({"a": value}, "a") == value


@pytest.mark.parametrize(
    ("read", "nothing"),
    [
        (shapes.object_at, {}),
        (shapes.objects_at, []),
        (shapes.list_at, []),
        (shapes.find_text, None),
        (shapes.find_count, None),
        (shapes.count_at, 0),
    ],
)
def test_null_is_the_same_as_absent(read, nothing):
    assert read({}, "a") == read({"a": None}, "a") == nothing


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        *((shapes.object_at, wrong) for wrong in (0, "", "text", True, [])),
        *((shapes.objects_at, wrong) for wrong in ({}, "text", [None], ["text"])),
        *((shapes.list_at, wrong) for wrong in ({}, 0, "text")),
        *((shapes.find_text, wrong) for wrong in (0, False, [], {})),
        *((shapes.text_at, wrong) for wrong in (None, "", 0, [])),
        *((shapes.find_count, wrong) for wrong in (-1, 2**53, 1.0, True, "1", [])),
    ],
)
def test_a_value_of_another_shape_is_a_malformed_reply(read, wrong):
    with pytest.raises(MalformedReplyError, match="`a`"):
        read({"a": wrong}, "a")
