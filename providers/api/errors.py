"""Convert DRF errors to the hub's error object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework.exceptions import APIException, NotFound, PermissionDenied
from rest_framework.response import Response

from llmhub.http.error_envelope import api_error_body, error_body
from providers.error_table import served_error
from providers.errors import ProviderError


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Handle every error of the REST API with the hub's error object."""
    del context
    if isinstance(error, ProviderError):
        problem = served_error(error)
        return Response(problem.body, status=problem.status, headers=problem.headers)
    if isinstance(error, OperationalError | InterfaceError):
        body = error_body("The hub's database does not answer.", type_="server_error", code="database_unavailable")
        return Response(body, status=503)
    converted = _as_api_exception(error)
    if converted is None:
        return None
    challenge = getattr(converted, "auth_header", None)
    headers = {"www-authenticate": challenge} if challenge else {}
    return Response(api_error_body(converted), status=converted.status_code, headers=headers)


def _as_api_exception(error: Exception) -> APIException | None:
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, DjangoPermissionDenied):
        return PermissionDenied()
    return error if isinstance(error, APIException) else None
