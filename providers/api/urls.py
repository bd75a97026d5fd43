"""Mounted at /api/providers. A provider's name is one segment, so the words here are reserved: see RESERVED_NAMES."""

from django.urls import path

from providers.api import views

urlpatterns = [
    path("", views.ProvidersView.as_view()),
    path("/register", views.RegisterView.as_view()),
    path("/health", views.HealthView.as_view()),
    path("/models", views.ModelsView.as_view()),
    path("/<str:name>", views.OneProviderView.as_view()),
    path("/<str:name>/default", views.DefaultView.as_view()),
    path("/<str:name>/check", views.CheckView.as_view()),
    path("/<str:name>/refresh", views.RefreshView.as_view()),
]
