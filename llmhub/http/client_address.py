"""The client's address, as trusted proxies report it."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest

ADDRESS = re.compile(r"\[(?P<bracketed>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+")

MAX_CHARS = 100
"""No address is longer; bounds the cache."""


def client_address(request: HttpRequest) -> str:
    """Return the caller's address as reported by the trusted proxies; empty if unknown."""
    return forwarded_address(request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", ""))


def forwarded_address(peer: str, forwarded_for: str) -> str:
    """Return the client's address from the peer address and X-Forwarded-For.

    Each proxy appends its own peer to X-Forwarded-For. Entries further left than our proxies may be forged.
    """
    hops = [peer, *reversed([hop for hop in forwarded_for.split(",") if hop.strip()])]
    return _clean(hops[min(settings.TRUSTED_PROXIES, len(hops) - 1)].strip()[:MAX_CHARS])


@lru_cache(maxsize=4096)
def _clean(hop: str) -> str:
    match = ADDRESS.fullmatch(hop)
    address = (match["bracketed"] or match["v4"]) if match else hop
    try:
        return str(ip_address(address))
    except ValueError:
        return ""
