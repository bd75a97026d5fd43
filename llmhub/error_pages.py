"""What Django answers where no view did: JSON to programs, its own pages to people."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from llmhub.access.errors import error_body


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        body = error_body(f"There is nothing at {request.path}.", type_="not_found_error", code="not_found")
        return JsonResponse(body, status=404)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        body = error_body("The hub failed; see its log.", type_="server_error", code="internal_error")
        return JsonResponse(body, status=500)
    return defaults.server_error(request)
