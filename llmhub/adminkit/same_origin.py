"""Where a page may lead to."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme


def is_same_origin(request: HttpRequest, url: str | None) -> bool:
    """Whether an address that a request names is one of this very host, not of every other that is allowed."""
    return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
