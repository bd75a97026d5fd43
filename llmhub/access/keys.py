"""API keys as text: how they are sent, compared and shown."""

from __future__ import annotations

import hashlib
import re

_WELL_FORMED = re.compile(r"[!-~]{20,256}")
MIN_DISTINCT = 10
RULE = f"20 to 256 printable ASCII characters without spaces, at least {MIN_DISTINCT} of them different"
"""What a key has to be that somebody chooses: nobody finds it by guessing."""


def presented_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """Return the API key of a request's headers, None when there is none; `x-api-key` wins."""
    if x_api_key:
        return x_api_key.strip()
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def key_digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def is_well_formed(key: str) -> bool:
    return _WELL_FORMED.fullmatch(key) is not None


def may_be_chosen(key: str) -> bool:
    """Whether a key keeps to the `RULE`."""
    return is_well_formed(key) and len(set(key)) >= MIN_DISTINCT


def visible_prefix(secret: str) -> str:
    """The part of a key that may be shown; never more than a third of a short one."""
    return secret[: min(10, len(secret) // 3)]
