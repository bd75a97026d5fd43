"""Check redirect targets."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme


def is_same_origin(request: HttpRequest, url: str | None) -> bool:
    """Whether a URL from a request points to the request's own host; other allowed hosts do not count."""
    return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
