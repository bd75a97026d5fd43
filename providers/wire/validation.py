"""Bodies of requests checked against the schema of their format, and what is wrong with them in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from providers.types import JSONObject

FaultWords = Mapping[str, str]
"""What a format says of a field that is at fault, by the field's path without numbers: `messages[].content`.

Shape: `{path}`, `{parent}` and `{given}` stand for the field, what holds it, and the JSON type of its value. The words
begin with the path that is the error's `param`.
"""

WORDS: Mapping[str, str] = {
    "bool_type": "must be true or false, not {given}",
    "dict_type": "must be an object, not {given}",
    "float_type": "must be a number, not {given}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number, not {given}",
    "list_type": "must be a list, not {given}",
    "literal_error": "must be one of {names}",
    "missing": "is missing",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be a string, not {given}",
    "too_short": "must not be empty",
}
TYPES: Mapping[str, str] = {
    "bool_type": "true or false",
    "dict_type": "an object",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "string_type": "a string",
}
JSON_TYPES: Mapping[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    type(None): "null",
}


class BadRequestError(Exception):
    """The request's body is at fault; `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def check_body(schema: TypeAdapter[Any], body: JSONObject, words: FaultWords | None = None) -> None:
    """Refuse a body that the schema does not allow. Shape: `words` are what this format says otherwise than others.

    Errors: BadRequestError with the first fault, and the path of its field.
    """
    try:
        schema.validate_python(body)
    except ValidationError as error:
        faults = [_fault_of(one, body) for one in error.errors(include_url=False, include_input=False)]
    else:
        return
    raise _error_of(_first_fault(faults), words or {})


def json_type(value: Any) -> str:
    return JSON_TYPES.get(type(value), "a number")


def tagged_by(tags: Mapping[type, str], other: str) -> Callable[[Any], str]:
    """Return what chooses a schema's variant by the JSON type of a value, so that a fault is that of one variant."""
    return lambda value: tags.get(type(value), other)


@dataclass(frozen=True, slots=True, repr=False)
class _BodyFault:
    """What pydantic found. Shape: `steps` lead to the field, `types` are pydantic's, of several where any would do."""

    steps: tuple[int | str, ...]
    types: tuple[str, ...]
    context: Mapping[str, Any]
    message: str
    given: str

    @property
    def path(self) -> str:
        return path_of(self.steps)

    @property
    def is_missing(self) -> bool:
        return self.types == ("missing",)

    @property
    def words(self) -> str:
        if len(self.types) > 1 and all(type_ in TYPES for type_ in self.types):
            return f"must be {' or '.join(dict.fromkeys(TYPES[type_] for type_ in self.types))}, not {self.given}"
        if (words := WORDS.get(self.types[0])) is None:
            return f"is at fault: {self.message}"
        names = ", ".join(re.findall("'([^']*)'", str(self.context.get("expected"))))
        return words.format_map({**self.context, "given": self.given, "names": names})


def path_of(steps: Iterable[int | str]) -> str:
    """Return a place in a body as callers write it: `messages[0].content`."""
    return "".join([f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps]).removeprefix(".")


def _fault_of(error: Mapping[str, Any], body: JSONObject) -> _BodyFault:
    """Return a fault of pydantic's, the names of the schema's variants left out of its place."""
    value: Any = body
    steps: list[int | str] = []
    place = error["loc"]
    for number, step in enumerate(place):
        is_missing = error["type"] == "missing" and number == len(place) - 1
        if isinstance(step, int) and isinstance(value, list):
            value = value[step]
        elif isinstance(value, dict) and (step in value or is_missing):
            value = value.get(step)
        else:
            continue
        steps.append(step)
    return _BodyFault(tuple(steps), (error["type"],), error.get("ctx", {}), error["msg"], json_type(value))


def _first_fault(faults: list[_BodyFault]) -> _BodyFault:
    """Return the first fault; of a choice of variants, what is deeper in the one that was meant."""
    first = faults[0]
    alike = [fault for fault in faults if fault.steps[: len(first.steps)] == first.steps]
    if deeper := [fault for fault in alike if len(fault.steps) > len(first.steps)]:
        return _first_fault(deeper)
    types = tuple(dict.fromkeys(fault.types[0] for fault in alike))
    return _BodyFault(first.steps, types, first.context, first.message, first.given)


def _error_of(fault: _BodyFault, words: FaultWords) -> BadRequestError:
    path = fault.path
    template = words.get(re.sub(r"\[\d+\]", "[]", path))
    if template is None or (fault.is_missing and "{given}" in template):
        message = f"`{path}` {fault.words}."
    else:
        message = template.format(path=path, parent=path_of(fault.steps[:-1]), given=fault.given)
    param = message.split("`", 2)[1]
    is_absent = fault.is_missing and len(fault.steps) == 1
    return BadRequestError(message, param=param, code="missing_parameter" if is_absent else None)
