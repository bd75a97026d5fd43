"""What is answered where no view answers: JSON to programs, a page to people."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from llmhub.access.errors import error_body

API = "/api/"


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not request.path.startswith(API):
        return defaults.page_not_found(request, exception)
    return JsonResponse(error_body("There is no such endpoint.", type_="not_found_error", code="not_found"), status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    if not request.path.startswith(API):
        return defaults.server_error(request)
    body = error_body("The hub failed; see its log.", type_="server_error", code="internal_error")
    return JsonResponse(body, status=500)
