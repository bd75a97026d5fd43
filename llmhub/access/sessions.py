"""Session authentication on the chat path, for the admin's own pages; keys take another path."""

from __future__ import annotations

from dataclasses import replace

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone

from llmhub.access.authentication import user_principal
from llmhub.access.models import ApiKey
from llmhub.access.principals import KeyRefusedError, Principal

AS_KEY = "x-llmhub-as-key"
"""The header that restricts a signed-in user to the rights of one API key; ignored from callers with a key."""


def _no_view(_request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class SessionsUnavailableError(Exception):
    """The database is unavailable, so sessions cannot be checked."""


class UnknownKeyError(KeyRefusedError):
    """A signed-in user named an API key that is unknown, invalid, or hidden from them."""

    param = AS_KEY


class _CsrfCheck(CsrfViewMiddleware):
    """Django's CSRF check, which returns the reason instead of a page."""

    def _reject(self, request: ASGIRequest, reason: str) -> str:
        return reason


async def session_principal(request: ASGIRequest) -> Principal:
    """Return the principal of a request's session; runs queries in a thread.

    Errors: KeyRefusedError without a session or a CSRF token; UnknownKeyError; SessionsUnavailableError.
    """
    return await sync_to_async(_principal_or_unavailable, thread_sensitive=False)(request)


def _principal_or_unavailable(request: ASGIRequest) -> Principal:
    try:
        return _session_principal(request)
    except (OperationalError, InterfaceError):
        raise SessionsUnavailableError("The hub's database does not answer.") from None
    finally:
        connection.close()


def _session_principal(request: ASGIRequest) -> Principal:
    request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    user = get_user(request)
    if not user.is_authenticated:
        raise KeyRefusedError("Nobody is signed in, and no API key was sent.")
    check = _CsrfCheck(_no_view)
    check.process_request(request)
    if reason := check.process_view(request, _no_view, (), {}):
        raise KeyRefusedError(f"A signed-in user's chat needs the CSRF token: {reason}")
    key_id = request.headers.get(AS_KEY)
    return user_principal(user) if key_id is None else principal_as_key(user, key_id)


def principal_as_key(user: User | AnonymousUser, key_id: str) -> Principal:
    """Return a user's principal, restricted to the rights of a visible key. Runs queries.

    Shape: `key_id` is the row's id.
    Errors: UnknownKeyError, with the user's own principal.
    """
    principal = user_principal(user)
    live = ApiKey.objects.live(now=timezone.now()).select_related("application")
    row = live.with_ids([key_id]).first() if user.has_perm("access.view_apikey") else None
    if row is None:
        raise UnknownKeyError("There is no such API key in force, or you may not see it.", principal=principal)
    key = row.entry().principal
    return replace(
        principal,
        scopes=principal.scopes & key.scopes,
        allowed_providers=key.allowed_providers,
        allowed_models=key.allowed_models,
    )
