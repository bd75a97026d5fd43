"""The playground's views: page, routing preview and snippets. Its chats use the public API."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_GET, require_POST

from chat.gateway.errors import served_problem
from chat.gateway.incoming import check_may_chat
from chat.gateway.parsing import read_json
from llmhub.access.authentication import user_principal
from llmhub.access.models import ApiKey
from llmhub.access.principals import NotPermittedError, Principal
from llmhub.access.sessions import AS_KEY, UnknownKeyError, principal_as_key
from llmhub.dashboard.playground.forms import Choices, PlaygroundForm
from llmhub.dashboard.playground.shell_commands import curl_snippet, python_snippet
from providers.errors import ProviderError
from providers.manager import get_provider_manager
from providers.models import ProviderConfig, ProviderModel
from providers.resolution.plan import Candidate
from providers.types import ChatRequest
from providers.wire.validation import BadRequestError

CHAT_PATH = "/api/chat/multi"

may_chat = permission_required("chat.use_chat", raise_exception=True)


@require_GET
@may_chat
@ensure_csrf_cookie
def playground(request: HttpRequest) -> HttpResponse:
    """Render the page. Runs at most three queries of its own."""
    providers = list(ProviderConfig.objects.in_order().defer("api_key"))
    context = {
        **admin.site.each_context(request),
        "title": "Playground",
        "is_fullwidth": True,
        "form": PlaygroundForm(
            Choices(providers=providers, keys=_keys(request)),
            initial={name: request.GET.get(name, "") for name in ("provider", "model", "as_key")},
        ),
        "config": _config(request, providers),
    }
    return TemplateResponse(request, "dashboard/playground.html", context)


def _keys(request: HttpRequest) -> list[ApiKey] | None:
    if not request.user.has_perm("access.view_apikey"):
        return None
    return list(ApiKey.objects.live(now=timezone.now()).select_related("application"))


def _config(request: HttpRequest, providers: list[ProviderConfig]) -> dict[str, Any]:
    """Return the configuration of the page's script. Shape: a chat's id is appended to `chat_url`."""
    may_read = request.user.has_perm("chat.view_chat")
    return {
        "ask_url": CHAT_PATH,
        "as_key_header": AS_KEY,
        "plan_url": reverse("playground-plan"),
        "snippets_url": reverse("playground-snippets"),
        "login_url": f"{reverse(settings.LOGIN_URL)}?{urlencode({'next': request.path}, safe='/')}",
        "chat_url": reverse("admin:chat_chat_changelist") if may_read else None,
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "models": _models(providers),
        "default_models": {row.name: row.default_model for row in providers},
    }


def _models(providers: list[ProviderConfig]) -> dict[str, list[str]]:
    """Return each provider's models, including an unlisted default model. Runs one query."""
    models = {row.name: {row.default_model} - {""} for row in providers}
    for provider, name in ProviderModel.objects.offered().order_by().values_list("provider__name", "name"):
        models.setdefault(provider, set()).add(name)
    return {provider: sorted(names) for provider, names in models.items()}


@require_GET
@may_chat
def routing(request: HttpRequest) -> HttpResponse:
    """Preview the routing of a chat, from the same snapshot that a chat uses."""
    try:
        principal = _principal(request)
        check_may_chat(principal)
        asked = ChatRequest(messages=(), model_name=request.GET.get("model", ""))
        plan = get_provider_manager().plan(asked, principal=principal, provider=request.GET.get("provider") or None)
    except (UnknownKeyError, NotPermittedError, ProviderError) as error:
        return JsonResponse({"candidates": [], "left_out": [], "problem": str(error)})
    candidates = [_candidate(candidate) for candidate in plan.candidates]
    left_out = [str(exclusion) for exclusion in plan.exclusions]
    return JsonResponse({"candidates": candidates, "left_out": left_out, "problem": None})


def _principal(request: HttpRequest) -> Principal:
    key_id = request.GET.get("as_key")
    return principal_as_key(request.user, key_id) if key_id else user_principal(request.user)


def _candidate(candidate: Candidate) -> dict[str, str]:
    health = candidate.provider.health
    return {"provider": candidate.provider.name, "model": candidate.model_name, "health": health.label.lower()}


@require_POST
@may_chat
def snippets(request: HttpRequest) -> HttpResponse:
    """Return a chat's body as commands that send it with a key."""
    try:
        body = read_json(request.body)
    except BadRequestError as error:
        problem = served_problem(error)
        return JsonResponse(problem.body, status=problem.status)
    url = request.build_absolute_uri(CHAT_PATH)
    return JsonResponse({"curl": curl_snippet(url, body), "python": python_snippet(url, body)})
