"""Where a request comes from."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest

ADDRESS = re.compile(r"\[(?P<bracketed>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+")

MAX_CHARS = 100
"""No address is longer: this bounds what is kept in mind."""


def client_address(request: HttpRequest) -> str:
    """Return the caller's address as the trusted proxies tell it; empty if nobody does."""
    return told_address(request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", ""))


def told_address(connected: str, forwarded_for: str) -> str:
    """Return the address that a connection and its X-Forwarded-For tell.

    Each proxy appends to X-Forwarded-For whom it was called by: what stands further left than there are proxies of
    ours, the caller may have made up.
    """
    hops = [connected, *reversed([hop for hop in forwarded_for.split(",") if hop.strip()])]
    return _clean(hops[min(settings.TRUSTED_PROXIES, len(hops) - 1)].strip()[:MAX_CHARS])


@lru_cache(maxsize=4096)
def _clean(hop: str) -> str:
    match = ADDRESS.fullmatch(hop)
    address = (match["bracketed"] or match["v4"]) if match else hop
    try:
        return str(ip_address(address))
    except ValueError:
        return ""
