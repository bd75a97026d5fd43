"""JSON bodies of the hub's API beside the chats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser


class JSONParser(BaseParser):
    """Reads JSON as the chat path does: deep nesting, lone surrogates and NaN are errors of the caller."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return orjson.loads(stream.read())
        except orjson.JSONDecodeError as error:
            raise ParseError(json_fault(error)) from None


def json_fault(error: orjson.JSONDecodeError) -> str:
    """Say what is wrong with a body. Of bytes that are no UTF-8 the parser tells neither what nor where they are."""
    if "UTF-8" in error.msg:
        return "The body is not valid JSON: it is not encoded in UTF-8."
    return f"The body is not valid JSON: {error.msg} at character {error.pos}."
