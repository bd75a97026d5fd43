"""API keys as text: parsing, digests and masking."""

from __future__ import annotations

import hashlib
import re

_WELL_FORMED = re.compile(r"[!-~]{20,256}")
MIN_DISTINCT = 10
RULE = f"20 to 256 printable ASCII characters without spaces, at least {MIN_DISTINCT} of them different"
"""The rule for a chosen key, which makes it hard to guess."""


def presented_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """Return the API key in a request's headers, if any; `x-api-key` takes precedence."""
    if x_api_key:
        return x_api_key.strip()
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


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
