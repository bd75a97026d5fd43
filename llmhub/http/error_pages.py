"""What Django answers where no view did: JSON to programs, pages in the hub's look to people."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from django.contrib import admin
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from llmhub.http.error_envelope import error_body

RETRY_S = 60
"""The span that allauth's limits per minute count over."""


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """What is told of an error; nothing of it comes from the request or from an exception."""

    status: int
    title: str
    text: str
    type: str
    code: str
    can_sign_out: bool = False


BAD_REQUEST = ErrorPage(
    400,
    "The hub cannot read this request",
    "Go back and try again. If every page answers so, the hub is reached under a host name that LLMHUB_ALLOWED_HOSTS "
    "does not list.",
    "invalid_request_error",
    "bad_request",
)
BAD_QUERY = ErrorPage(
    400,
    "This address asks for what cannot be compared",
    "A value in it is not of the kind that its column holds. Go back, and use the filters of the page.",
    "invalid_request_error",
    "bad_query",
)
FORBIDDEN = ErrorPage(
    403,
    "You may not do this",
    "Your groups do not allow it. An administrator of the hub can change that.",
    "permission_error",
    "permission_denied",
)
NOT_STAFF = ErrorPage(
    403,
    "This account may not use the admin",
    "You are signed in, but not as staff. An administrator of the hub can change that; or sign out, and sign in as "
    "somebody else.",
    "permission_error",
    "permission_denied",
    can_sign_out=True,
)
CSRF = ErrorPage(
    403,
    "This form is out of date",
    "You have signed in or out since the form was opened, or the browser sends no cookies. Go back, reload the page, "
    "and send the form again.",
    "permission_error",
    "csrf_failed",
)
NOT_FOUND = ErrorPage(
    404,
    "There is nothing here",
    "The address may be wrong, or what it named has been deleted.",
    "not_found_error",
    "not_found",
)
TOO_MANY = ErrorPage(
    429,
    "Too many attempts",
    "Try again in a minute.",
    "rate_limit_error",
    "rate_limited",
)
FAILED = ErrorPage(
    500,
    "The hub failed",
    "What went wrong stands in its log. Chats are served apart from these pages and may be unaffected.",
    "server_error",
    "internal_error",
)
NO_DATABASE = ErrorPage(
    503,
    "The hub's database does not answer",
    "The hub goes on by itself once the database is back. Try again in a minute.",
    "server_error",
    "database_unavailable",
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    is_stranger = request.user.is_authenticated and not admin.site.has_permission(request)
    return _answer(request, NOT_STAFF if is_stranger else FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _answer(request, CSRF)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, NOT_FOUND)


def too_many_requests(request: HttpRequest) -> HttpResponse:
    return _answer(request, TOO_MANY, retry_after_s=RETRY_S)


def server_error(request: HttpRequest) -> HttpResponse:
    fault = sys.exc_info()[1]
    if isinstance(fault, OperationalError | InterfaceError):
        return _answer(request, NO_DATABASE, retry_after_s=RETRY_S)
    if isinstance(fault, DataError) and request.method == "GET":
        return _answer(request, BAD_QUERY)
    return _answer(request, FAILED)


def _answer(request: HttpRequest, page: ErrorPage, *, retry_after_s: int | None = None) -> HttpResponse:
    """Answer without a query, and without what a template's context processors would ask."""
    response: HttpResponse
    if request.path.startswith("/api/"):
        body = error_body(f"{page.title}. {page.text}", type_=page.type, code=page.code)
        response = JsonResponse(body, status=page.status)
    else:
        shown_to = request if page.can_sign_out else None
        response = HttpResponse(render_to_string("sign_in/error.html", {"page": page}, shown_to), status=page.status)
    if retry_after_s is not None:
        response["Retry-After"] = str(retry_after_s)
    return response
