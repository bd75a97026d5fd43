"""What holds of the body of a chat in every dialect: it is one JSON object, and chooses neither address nor key."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from llmhub.http.parsers import json_fault
from providers.types import Extra, JSONObject
from providers.wire.validation import BadRequestError, json_type

ROUTING_FIELDS = frozenset(
    {
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "base_url",
        "custom_llm_provider",
        "endpoint",
        "extra_headers",
        "proxy",
    }
)
MODEL_FIELDS = frozenset({"models", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "route"})
"""What names further models to providers that choose among several themselves."""

EXTENSION_OBJECTS = frozenset(
    {
        "extra_body",
        "extra_query",
        "fallbacks",
        "litellm_params",
        "model_kwargs",
        "model_list",
        "provider_options",
        "user_config",
    }
)


def read_json(body: bytes) -> JSONObject:
    """Errors: BadRequestError unless the body is one JSON object."""
    if not body:
        raise BadRequestError("The body is empty; a JSON object is needed.", code="invalid_json")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(json_fault(error), code="invalid_json") from None
    if not isinstance(value, dict):
        raise BadRequestError(f"The body must be a JSON object, not {json_type(value)}.", code="invalid_json")
    return value


def refuse_routing_fields(body: JSONObject) -> None:
    """Refuse what would choose the provider's address or key: these come from the hub's configuration alone.

    Errors: BadRequestError for such a field at the top level, or at any depth of an extension object.
    """
    _refuse(body, ROUTING_FIELDS, ROUTING_FIELDS)


def refuse_model_fields(body: Extra) -> None:
    """Refuse what would name more models than the one that was judged.

    Errors: as `refuse_routing_fields`.
    """
    _refuse(body, MODEL_FIELDS, MODEL_FIELDS | {"model"})


def _refuse(body: Extra, at_the_top: frozenset[str], inside: frozenset[str]) -> None:
    for name in _named(body, at_the_top):
        raise BadRequestError(f"`{name}` cannot be set by a caller.", param=name, code="forbidden_parameter")
    for holder in _named(body, EXTENSION_OBJECTS):
        if field := _find_inside(body[holder], inside):
            raise BadRequestError(
                f"`{field}` in `{holder}` cannot be set by a caller.",
                param=f"{holder}.{field}",
                code="forbidden_parameter",
            )


def _named(wire: Extra, names: frozenset[str]) -> list[str]:
    """Return the fields with one of these names, in whatever case, and with or without marks between the words."""
    plain = _without_marks(names)
    return [name for name in wire if name.replace("_", "").replace("-", "").lower() in plain]


@cache
def _without_marks(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.replace("_", "") for name in names)


def _find_inside(value: Any, names: frozenset[str]) -> str | None:
    pending = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, dict):
            if found := _named(inner, names):
                return min(found)
            pending += inner.values()
        elif isinstance(inner, list):
            pending += inner
    return None
