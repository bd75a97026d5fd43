"""API keys as text: parsing, digests and masking."""

from __future__ import annotations

import hashlib
import re

_WELL_FORMED = re.compile(r"[!-~]{20,256}")
MIN_DISTINCT = 10
RULE = f"20 to 256 printable ASCII characters without spaces, at least {MIN_DISTINCT} of them different"
"""The rule for a chosen key, which makes it hard to guess."""


def presented_keys(authorization: str | None, x_api_key: str | None) -> tuple[str, ...]:
    """Return the API keys in a request's headers; some clients send a key of another service beside the hub's."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return tuple(filter(None, ((x_api_key or "").strip(), bearer)))


def key_digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def is_well_formed(key: str) -> bool:
    return _WELL_FORMED.fullmatch(key) is not None


def is_strong(key: str) -> bool:
    """Whether a chosen key satisfies `RULE`."""
    return is_well_formed(key) and len(set(key)) >= MIN_DISTINCT


def visible_prefix(secret: str) -> str:
    """Return the prefix that may be shown; at most a third of a short key."""
    return secret[: min(10, len(secret) // 3)]
