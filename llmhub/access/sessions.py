"""Signed-in users on the chat path, for the admin's own pages; callers with a key never come here."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from llmhub.access.authentication import user_principal
from llmhub.access.principals import KeyRefusedError, Principal


def _no_view(_request: HttpRequest) -> HttpResponse:
    return HttpResponse()


class SessionsUnavailableError(Exception):
    """Nobody can tell now who is signed in."""


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check, telling the reason instead of rendering a page."""

    def _reject(self, request: ASGIRequest, reason: str) -> str:
        return reason


async def session_principal(request: ASGIRequest) -> Principal:
    """Return the signed-in user of a request; runs queries, in a thread.

    Errors: KeyRefusedError when nobody is signed in, or the request lacks the CSRF token;
    SessionsUnavailableError.
    """
    return await sync_to_async(_in_a_thread, thread_sensitive=False)(request)


def _in_a_thread(request: ASGIRequest) -> Principal:
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
    return user_principal(user)
