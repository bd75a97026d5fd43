"""Where a provider's key may go: to the type and the origin it was entered for, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from providers.addresses import origin_of
from providers.types import ProviderType


def key_place(kind: ProviderType, base_url: str, settings: Mapping[str, Any]) -> str:
    """Return the place of a provider as one line of text, "" where it has none.

    Headers that go with every call belong to it: gateways are told by them where to send a call on to.
    """
    try:
        origin = origin_of(base_url)
    except ValueError:
        return ""
    headers = settings.get("extra_headers")
    return " ".join((kind.value, origin, *((_digest(headers),) if headers else ())))


def origin_in(place: str) -> str:
    """Return scheme, host and port of a place, "" where it has none."""
    return place.split()[1] if place else ""


def move_fault(entered_for: str, wanted_at: str) -> str:
    """Say why a key that was entered for one place is not sent to another, as the rest of a sentence about the key.

    Shape: both as `key_place` returns them.
    """
    was, now = entered_for.split(), wanted_at.split()
    if not was or not now:
        return "was entered for no valid address: enter it again"
    if was[1] != now[1]:
        return f"was entered for {was[1]}: enter it again to use it at {now[1]}"
    if was[0] != now[0]:
        return f"was entered for the type {was[0]}: enter it again to use it with the type {now[0]}"
    return "was entered with other extra headers: enter it again to use it with these"


def _digest(headers: Any) -> str:
    """Names count whatever their case, as they do when they are sent."""
    if isinstance(headers, dict):
        headers = sorted((name.lower(), str(value)) for name, value in headers.items())
    return sha256(json.dumps(headers).encode()).hexdigest()[:32]
