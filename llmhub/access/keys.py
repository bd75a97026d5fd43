"""API keys as text: how they are sent, compared and shown."""

from __future__ import annotations

import hashlib
import re

_WELL_FORMED = re.compile(r"[!-~]{4,256}")


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


def visible_prefix(secret: str) -> str:
    """The part of a key that may be shown; never more than a third of a short one."""
    return secret[: min(10, len(secret) // 3)]
