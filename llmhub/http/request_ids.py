"""Give every non-chat request an id, for its log lines and its response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from structlog.contextvars import bound_contextvars

from llmhub.runtime.uuid7 import uuid7

HEADER = "x-request-id"


@sync_and_async_middleware
def request_id(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    async def middleware_async(request: HttpRequest) -> HttpResponseBase:
        id_ = str(uuid7())
        with bound_contextvars(request_id=id_):
            response: HttpResponseBase = await get_response(request)
        response[HEADER] = id_
        return response

    def middleware(request: HttpRequest) -> HttpResponseBase:
        id_ = str(uuid7())
        with bound_contextvars(request_id=id_):
            response: HttpResponseBase = get_response(request)
        response[HEADER] = id_
        return response

    return middleware_async if iscoroutinefunction(get_response) else middleware
