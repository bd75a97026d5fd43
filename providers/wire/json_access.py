"""Access to JSON that a provider sent.

`…_at` and `find_…` are strict: the wrong type is a MalformedReplyError, null is the same as absent. `…_or_…` forgive:
what is not of the type is taken for absent, where a good answer or an error must not be lost over it.
"""

from __future__ import annotations

from typing import Any

from providers.errors import MalformedReplyError
from providers.types import JSONObject

MAX_COUNT = 2**53 - 1
"""What every reader of JSON takes for the same number."""


def object_at(data: JSONObject, key: str) -> JSONObject:
    """Return the object under `key`, empty where there is none."""
    value = data.get(key)
    if value is None:
        return {}
    return _as_object(value, key)


def objects_at(data: JSONObject, key: str) -> list[JSONObject]:
    """Return the list of objects under `key`, empty where there is none."""
    return [_as_object(item, key) for item in list_at(data, key)]


def list_at(data: JSONObject, key: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedReplyError(f"The provider's `{key}` is not a list.")
    return value


def find_text(data: JSONObject, key: str) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise MalformedReplyError(f"The provider's `{key}` is not text.")
    return value


def text_at(data: JSONObject, key: str) -> str:
    """Return the text under `key`, which must be there and not be empty."""
    value = find_text(data, key)
    if not value:
        raise MalformedReplyError(f"The provider's answer lacks `{key}`.")
    return value


def find_count(data: JSONObject, key: str) -> int | None:
    """Return the whole number from 0 under `key`."""
    value = data.get(key)
    if value is None:
        return None
    count = count_or_none(value)
    if count is None:
        raise MalformedReplyError(f"The provider's `{key}` is not a count.")
    return count


def count_at(data: JSONObject, key: str) -> int:
    """Return the count under `key`, 0 where there is none."""
    return find_count(data, key) or 0


def _as_object(value: Any, key: str) -> JSONObject:
    if not isinstance(value, dict):
        raise MalformedReplyError(f"The provider's `{key}` is not an object.")
    return value


def object_or_empty(value: Any) -> JSONObject:
    return value if isinstance(value, dict) else {}


def objects_or_empty(value: Any) -> list[JSONObject]:
    """Return the objects of a list, whatever else stands in it left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def label_or_none(value: Any) -> str | None:
    """Return what names something, such as an id, which some servers send as a number; None for an empty text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def count_or_none(value: Any) -> int | None:
    """Return a whole number from 0, which some servers write as `131072.0`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else None
