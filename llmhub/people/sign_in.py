"""Sign-in to the admin, and allauth's pages inside it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache

from llmhub.adminkit.same_origin import is_same_origin

View = Callable[..., HttpResponseBase]


@never_cache
def admin_login(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Redirect the admin's login to allauth's, which has rate limits and second factors."""
    del extra_context
    next_url = request.GET.get("next") or resolve_url(settings.LOGIN_REDIRECT_URL)
    if not request.user.is_authenticated:
        return HttpResponseRedirect(f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': next_url})}")
    if not admin.site.has_permission(request):
        raise PermissionDenied
    return HttpResponseRedirect(
        next_url if is_same_origin(request, next_url) else resolve_url(settings.LOGIN_REDIRECT_URL)
    )


def in_admin(view: View, *, title: str) -> View:
    """Show a page of allauth to staff, within the admin's layout."""

    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if isinstance(response, TemplateResponse):
            admin_context = {**admin.site.each_context(request), "title": title}
            response.context_data = {**admin_context, **(response.context_data or {})}
        return response

    staff_view: View = admin.site.admin_view(page)
    return staff_view
