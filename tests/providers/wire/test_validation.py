from typing import Annotated, Literal, Required

import pytest
from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, with_config
from typing_extensions import TypedDict

from providers.wire.validation import BadRequestError, check_body, tagged_by

OPEN = with_config(ConfigDict(extra="allow", strict=True))


@OPEN
class Leaf(TypedDict, total=False):
    name: Required[str]
    size: Annotated[int | None, Field(ge=1)]


@OPEN
class Tree(TypedDict, total=False):
    root: Required[Leaf]
    kind: Literal["oak", "elm"] | None
    height: float | None
    is_old: bool | None
    leaves: Annotated[list[Leaf] | None, Field(min_length=1, max_length=3)]
    label: Annotated[str | None, Field(max_length=3)]
    either: str | list[Leaf] | None
    tagged: Annotated[
        Annotated[str, Tag("name")] | Annotated[Leaf, Tag("leaf")], Discriminator(tagged_by({str: "name"}, "leaf"))
    ]


SCHEMA = TypeAdapter(Tree)
ROOT = {"name": "x"}


@pytest.mark.parametrize(
    ("fields", "message", "code"),
    [
        ({"root": None}, "`root` must be an object, not null.", None),
        ({"root": "x"}, "`root` must be an object, not a string.", None),
        ({"root": {}}, "`root.name` is missing.", None),
        ({"root": {"name": 1}}, "`root.name` must be a string, not a number.", None),
        ({"root": {"name": "x", "size": 0}}, "`root.size` must be at least 1.", None),
        ({"root": {"name": "x", "size": 1.5}}, "`root.size` must be a whole number, not a number.", None),
        ({"kind": "ash"}, "`kind` must be one of oak, elm.", None),
        ({"height": "1"}, "`height` must be a number, not a string.", None),
        ({"height": True}, "`height` must be a number, not true or false.", None),
        ({"is_old": 1}, "`is_old` must be true or false, not a number.", None),
        ({"leaves": {}}, "`leaves` must be a list, not an object.", None),
        ({"leaves": []}, "`leaves` must not be empty.", None),
        ({"leaves": [ROOT, {}]}, "`leaves[1].name` is missing.", None),
        ({"label": "long"}, "`label` must have at most 3 characters.", None),
        ({"either": 1}, "`either` must be a string or a list, not a number.", None),
        ({"either": [ROOT, {"name": []}]}, "`either[1].name` must be a string, not a list.", None),
        ({"tagged": {}}, "`tagged.name` is missing.", None),
        ({"tagged": {"name": 1}}, "`tagged.name` must be a string, not a number.", None),
        ({"tagged": 1}, "`tagged` must be an object, not a number.", None),
    ],
)
def test_each_fault_is_told_by_its_path_in_words(fields, message, code):
    with pytest.raises(BadRequestError) as caught:
        check_body(SCHEMA, {"root": ROOT, **fields})

    assert str(caught.value) == message
    assert (caught.value.param, caught.value.code) == (message.split("`")[1], code)


def test_a_parameter_that_is_missing_has_a_code():
    with pytest.raises(BadRequestError, match="`root` is missing") as caught:
        check_body(SCHEMA, {})

    assert (caught.value.param, caught.value.code) == ("root", "missing_parameter")


def test_a_fault_that_nobody_has_words_for_is_told_in_pydantics():
    with pytest.raises(BadRequestError, match="`leaves` is at fault: List should have at most 3 items") as caught:
        check_body(SCHEMA, {"root": ROOT, "leaves": [ROOT] * 4})

    assert caught.value.param == "leaves"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"leaves": [1]}, "`leaves` must hold leaves."),
        ({"leaves": {}}, "`leaves` must be a list of leaves, not an object."),
        ({"root": "x"}, "`root.name` must be there."),
    ],
)
def test_a_format_may_have_words_of_its_own(fields, message):
    words = {
        "leaves": "`{path}` must be a list of leaves, not {given}.",
        "leaves[]": "`{parent}` must hold leaves.",
        "root": "`{path}.name` must be there.",
    }

    with pytest.raises(BadRequestError) as caught:
        check_body(SCHEMA, {"root": ROOT, **fields}, words)

    assert str(caught.value) == message
    assert caught.value.param == message.split("`")[1]


def test_values_are_not_repeated():
    with pytest.raises(BadRequestError) as caught:
        check_body(SCHEMA, {"root": ROOT, "kind": "canary"})

    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_the_schema_does_not_know_is_allowed():
    check_body(SCHEMA, {"root": {"name": "x", "more": 1}, "more": {"name": 1}, "kind": None, "either": None})
