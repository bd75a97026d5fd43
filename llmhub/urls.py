"""The URLs of Django's own handler: the admin and the REST API."""

from allauth.decorators import rate_limit
from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from llmhub.operations.views import StatusView
from llmhub.people.sign_in import admin_login

# The admin's login and password change use allauth's rate limits.
admin.site.login = admin_login  # type: ignore[method-assign]  # the theme creates the site
admin.site.password_change = rate_limit(action="change_password")(admin.site.password_change)  # type: ignore[method-assign]  # likewise
admin.site.empty_value_display = "–"

urlpatterns = [
    path("favicon.ico", RedirectView.as_view(url=f"{settings.STATIC_URL}dashboard/favicon.svg")),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("accounts/", include("llmhub.people.urls")),
    path("admin/playground/", include("llmhub.dashboard.playground.urls")),
    path("admin/", admin.site.urls),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("api/providers", include("providers.api.urls")),
    path("api/audit/", include("chat.history.api.urls")),
    path("api/status", StatusView.as_view()),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema", http_method_names=["get", "head"])),
]

handler400 = "llmhub.http.error_pages.bad_request"
handler403 = "llmhub.http.error_pages.permission_denied"
handler404 = "llmhub.http.error_pages.not_found"
handler429 = "llmhub.http.error_pages.too_many_requests"
handler500 = "llmhub.http.error_pages.server_error"
