"""Django's error responses: JSON for API paths, HTML pages in the hub's design for others."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from django.contrib import admin
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from llmhub.http.error_envelope import error_body

RETRY_S = 60
"""The window of allauth's rate limits."""


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """The text of an error page; it quotes neither the request nor an exception."""

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
    "This address has an invalid filter",
    "A value does not fit the type of its column. Go back, and use the filters on the page.",
    "invalid_request_error",
    "bad_query",
)
FORBIDDEN = ErrorPage(
    403,
    "Permission denied",
    "Your groups do not allow it. An administrator of the hub can change that.",
    "permission_error",
    "permission_denied",
)
NOT_STAFF = ErrorPage(
    403,
    "This account may not use the admin",
    "You are signed in, but not as staff. An administrator of the hub can change that; or sign out, and sign in with "
    "another account.",
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
    "Page not found",
    "The address may be wrong, or the object has been deleted.",
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
    "See the hub's log for the cause. Chats are served separately and may be unaffected.",
    "server_error",
    "internal_error",
)
NO_DATABASE = ErrorPage(
    503,
    "The hub's database does not answer",
    "The hub recovers once the database is back. Try again in a minute.",
    "server_error",
    "database_unavailable",
)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _respond(request, BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    is_not_staff = request.user.is_authenticated and not admin.site.has_permission(request)
    return _respond(request, NOT_STAFF if is_not_staff else FORBIDDEN)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _respond(request, CSRF)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _respond(request, NOT_FOUND)


def too_many_requests(request: HttpRequest) -> HttpResponse:
    return _respond(request, TOO_MANY, retry_after_s=RETRY_S)


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return _respond(request, NO_DATABASE, retry_after_s=RETRY_S)
    if isinstance(error, DataError) and request.method == "GET":
        return _respond(request, BAD_QUERY)
    return _respond(request, FAILED)


def _respond(request: HttpRequest, page: ErrorPage, *, retry_after_s: int | None = None) -> HttpResponse:
    """Render the response without queries, hence without context processors."""
    response: HttpResponse
    if request.path.startswith("/api/"):
        body = error_body(f"{page.title}. {page.text}", type_=page.type, code=page.code)
        response = JsonResponse(body, status=page.status)
    else:
        template_request = request if page.can_sign_out else None
        response = HttpResponse(
            render_to_string("sign_in/error.html", {"page": page}, template_request), status=page.status
        )
    if retry_after_s is not None:
        response["Retry-After"] = str(retry_after_s)
    return response
