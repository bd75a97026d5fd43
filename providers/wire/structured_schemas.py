"""JSON Schemas within what Anthropic's structured outputs hold an answer to.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs and `lib/_parse/_transform.py` of
Anthropic's Python SDK 2.12, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from providers.types import JSONObject

KEPT_KEYWORDS = frozenset(
    {"$ref", "$defs", "definitions", "type", "enum", "const", "title", "description", "default", "required"}
)
LISTS_OF_SCHEMAS = frozenset({"anyOf", "allOf"})
OBJECTS_OF_SCHEMAS = frozenset({"$defs", "definitions", "properties"})
STRING_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
SILENT_KEYWORDS = frozenset({"$schema", "$id", "$comment", "examples"})
"""Nothing is lost with these: they bind no answer."""


def simplified(schema: Mapping[str, Any]) -> tuple[JSONObject, bool]:
    """Return a schema without what is not supported, which moves into the descriptions, and whether that lost a bound.

    Shape: objects allow no further properties, which every answer to the schema given may keep to.
    """
    simple: JSONObject = {}
    unsupported: JSONObject = {}
    is_narrower = False
    for keyword, value in schema.items():
        kept, is_lossy = _keyword(keyword, value)
        is_narrower |= is_lossy
        if kept is not None:
            simple |= kept
        elif keyword not in SILENT_KEYWORDS:
            unsupported[keyword] = value
    if "properties" in simple or _has_type(schema, "object"):
        is_narrower |= isinstance(schema.get("additionalProperties"), Mapping)
        simple.setdefault("properties", {})
        simple["additionalProperties"] = False
    if unsupported:
        words = f"{{{', '.join(f'{key}: {orjson.dumps(value).decode()}' for key, value in unsupported.items())}}}"
        simple["description"] = f"{simple['description']}\n\n{words}" if simple.get("description") else words
    return simple, is_narrower or bool(unsupported)


def _keyword(keyword: str, value: Any) -> tuple[JSONObject | None, bool]:
    """Return what stands for a keyword, None where nothing does, and whether a bound was lost in it."""
    if keyword in OBJECTS_OF_SCHEMAS and isinstance(value, Mapping):
        return _joined(keyword, {name: _subschema(one) for name, one in value.items()})
    if keyword in LISTS_OF_SCHEMAS and isinstance(value, list):
        return _listed(keyword, value)
    if keyword == "oneOf" and isinstance(value, list):
        return _listed("anyOf", value)
    if keyword == "items":
        simple, is_lossy = _subschema(value)
        return {keyword: simple}, is_lossy
    if keyword == "additionalProperties":
        return {}, False
    is_kept = (
        keyword in KEPT_KEYWORDS
        or (keyword == "format" and value in STRING_FORMATS)
        or (keyword == "minItems" and value in (0, 1))
    )
    return ({keyword: value} if is_kept else None), False


def _subschema(value: Any) -> tuple[Any, bool]:
    return simplified(value) if isinstance(value, Mapping) else (value, False)


def _joined(keyword: str, subschemas: Mapping[str, tuple[Any, bool]]) -> tuple[JSONObject, bool]:
    simple = {name: one for name, (one, _) in subschemas.items()}
    return {keyword: simple}, any(is_lossy for _, is_lossy in subschemas.values())


def _listed(keyword: str, values: list[Any]) -> tuple[JSONObject, bool]:
    subschemas = [_subschema(value) for value in values]
    return {keyword: [one for one, _ in subschemas]}, any(is_lossy for _, is_lossy in subschemas)


def _has_type(schema: Mapping[str, Any], name: str) -> bool:
    types = schema.get("type")
    return types == name or (isinstance(types, list) and name in types)
