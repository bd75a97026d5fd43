"""The JSON parser of the hub's REST API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


class JSONParser(BaseParser):
    """Parses JSON like the chat path: deep nesting, lone surrogates and NaN are client errors."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return orjson.loads(stream.read())
        except orjson.JSONDecodeError as error:
            raise ParseError(json_fault(error)) from None


def json_fault(error: orjson.JSONDecodeError) -> str:
    """Describe a JSON error. For invalid UTF-8 the parser reports neither bytes nor position."""
    if "UTF-8" in error.msg:
        return "The body is not valid JSON: it is not encoded in UTF-8."
    return f"The body is not valid JSON: {error.msg} at character {error.pos}."
