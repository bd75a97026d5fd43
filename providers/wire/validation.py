"""Bodies of requests checked against the schema of their format, and what is wrong with them in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from providers.wire.types import JSONObject

WORDS: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "float_type": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "literal_error": "must be one of {expected}",
    "missing": "is missing",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be a string",
    "too_short": "must not be empty",
}


class BadRequestError(Exception):
    """The request's body is at fault; `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def check_body(schema: TypeAdapter[Any], body: JSONObject) -> None:
    """Refuse a body that the schema does not allow.

    Errors: BadRequestError with the first fault, and the path of its field.
    """
    try:
        schema.validate_python(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
    else:
        return
    path = path_of(fault["loc"], body)
    words = WORDS.get(fault["type"])
    message = f"{words.format_map(fault.get('ctx', {}))}." if words else fault["msg"]
    is_missing = fault["type"] == "missing" and path in fault["loc"]
    raise BadRequestError(
        f"`{path}` {message}" if words else f"`{path}`: {message}",
        param=path,
        code="missing_parameter" if is_missing else None,
    )


def path_of(place: tuple[int | str, ...], body: JSONObject) -> str:
    """Return a fault's place as callers write it, `messages[0].content`: names of the schema's variants left out."""
    value: Any = body
    path = ""
    for step, name in enumerate(place):
        if isinstance(name, int) and isinstance(value, list):
            value, path = value[name], f"{path}[{name}]"
        elif isinstance(value, dict) and (name in value or step == len(place) - 1):
            value, path = value.get(name), f"{path}.{name}" if path else str(name)
    return path


def tagged_by(tags: Mapping[type, str], other: str) -> Callable[[Any], str]:
    """Return what chooses a schema's variant by the JSON type of a value, so that a fault is that of one variant."""
    return lambda value: tags.get(type(value), other)
