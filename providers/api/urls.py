"""Mounted at /api/providers. A provider's name is one segment; RESERVED_NAMES lists the names taken here."""

from django.urls import path, register_converter

from providers.api import views


class ProviderName:
    regex = r"[A-Za-z0-9._-]+"

    def to_python(self, value: str) -> str:
        return value

    to_url = to_python


register_converter(ProviderName, "provider")

urlpatterns = [
    path("", views.ProvidersView.as_view()),
    path("/register", views.RegisterView.as_view()),
    path("/health", views.HealthView.as_view()),
    path("/models", views.ModelsView.as_view()),
    path("/<provider:name>", views.OneProviderView.as_view()),
    path("/<provider:name>/default", views.DefaultView.as_view()),
    path("/<provider:name>/check", views.CheckView.as_view()),
    path("/<provider:name>/refresh", views.RefreshView.as_view()),
]
