"""Bodies of requests checked against the schema of their format, and what is wrong with them in words."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from providers.wire.types import JSONObject


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
        raise BadRequestError(fault["msg"], param=".".join(map(str, fault["loc"]))) from None
