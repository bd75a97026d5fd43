"""The views of the chat path. Plain async views, called by `llmhub.http.handler.GatewayHandler`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from functools import wraps
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from structlog.contextvars import bind_contextvars

from chat.dialects.hub import HubDialect
from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway.errors import served_problem
from chat.gateway.incoming import authenticate, check_may_chat
from chat.gateway.lifespan import get_chat_server
from chat.gateway.responses import json_response
from llmhub.access.principals import KeyRefusedError, NotPermittedError, Principal
from llmhub.http.error_envelope import error_body
from llmhub.http.handler import GatewayRequest
from llmhub.runtime.uuid7 import uuid7
from providers.errors import LoopError, ModelNotServedError
from providers.hubs import hubs_before
from providers.snapshot import ModelEntry, ProviderEntry, ProviderSnapshot
from providers.types import JSONObject

OPENAI = OpenAIDialect()
HUB = HubDialect()
MAX_PAGE_SIZE = 1000

View = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def only(method: str) -> Callable[[View], View]:
    """Let one method in."""

    def decorate(view: View) -> View:
        @wraps(view)
        async def checked(request: GatewayRequest, **kwargs: str) -> HttpResponseBase:
            if request.method == method:
                return await view(request, **kwargs)
            message = f"{request.path} takes {method}, not {request.method}."
            body = error_body(message, type_="invalid_request_error", code="method_not_allowed")
            return json_response(body, status=405, headers={"allow": method})

        return checked

    return decorate


@only("POST")
async def chat_completions(request: GatewayRequest) -> HttpResponseBase:
    return await get_chat_server().serve(request, OPENAI)


@only("POST")
async def chat_multi(request: GatewayRequest) -> HttpResponseBase:
    return await get_chat_server().serve(request, HUB)


@only("GET")
async def models(request: GatewayRequest) -> HttpResponseBase:
    """The models the caller may use, from memory: in OpenAI's shape and Anthropic's at once."""
    return await _models_answer(request, _page)


@only("GET")
async def model(request: GatewayRequest, model_id: str) -> HttpResponseBase:
    def find(_request: GatewayRequest, found: dict[str, JSONObject]) -> JSONObject:
        for name in (model_id, *(n for n in found if n.partition("/")[2] == model_id)):
            if name in found:
                return found[name]
        raise ModelNotServedError(f"The model `{model_id}` is served by no provider here.", param="model")

    return await _models_answer(request, find)


async def _models_answer(
    request: GatewayRequest, choose: Callable[[GatewayRequest, dict[str, JSONObject]], JSONObject]
) -> HttpResponse:
    request_id = str(uuid7())
    bind_contextvars(request_id=request_id)
    ids = {"x-request-id": request_id}
    try:
        principal = await authenticate(request)
        check_may_chat(principal)
        hubs_before(request.META.get("HTTP_VIA"))
        return json_response(
            choose(request, usable_models(get_chat_server().manager.snapshot(), principal)), headers=ids
        )
    except (KeyRefusedError, NotPermittedError, ModelNotServedError, LoopError) as error:
        problem = served_problem(error)
        return json_response(problem.body, status=problem.status, headers={**ids, **problem.headers})


def usable_models(snapshot: ProviderSnapshot, principal: Principal) -> dict[str, JSONObject]:
    """Return what the caller may chat with, by `provider/model`, the default provider's first."""
    return {
        f"{entry.name}/{model.name}": model_object(entry, model)
        for entry in snapshot.in_order
        if entry.enabled
        for model in entry.models.values()
        if model.is_offered and principal.may_use(entry.name, model.name)
    }


def model_object(entry: ProviderEntry, model: ModelEntry) -> JSONObject:
    name = f"{entry.name}/{model.name}"
    return {
        "id": name,
        "object": "model",
        "created": int(model.first_seen_at.timestamp()),
        "owned_by": entry.name,
        "type": "model",
        "display_name": name,
        "created_at": _rfc3339(model.first_seen_at),
    }


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _page(request: GatewayRequest, found: dict[str, JSONObject]) -> JSONObject:
    """Return one page: all of them, unless the caller asks for fewer with `limit` and `after_id`."""
    names = list(found)
    after = request.GET.get("after_id")
    start = names.index(after) + 1 if after in found else 0
    limit = request.GET.get("limit", "")
    size = int(limit[:9]) if limit.isascii() and limit.isdigit() else 0
    stop = start + min(size, MAX_PAGE_SIZE) if size else len(names)
    page = names[start:stop]
    return {
        "object": "list",
        "data": [found[name] for name in page],
        "has_more": stop < len(names),
        "first_id": page[0] if page else None,
        "last_id": page[-1] if page else None,
    }
