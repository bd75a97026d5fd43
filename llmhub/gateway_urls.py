"""The URLs of the lean handler: chats, models and probes."""

from django.urls import path

from chat.gateway import views
from llmhub.http import probes
from llmhub.operations.readiness import DatabaseCheck, record_fault
from providers.metrics import ProviderStates
from providers.snapshot import PROVIDERS

probes.READINESS.checks = (record_fault, DatabaseCheck())
probes.LIVE_COLLECTORS.append(ProviderStates(PROVIDERS))

urlpatterns = [
    path("api/chat/multi", views.chat_multi),
    path("v1/chat/completions", views.chat_completions),
    path("v1/models", views.models),
    path("v1/models/<path:model_id>", views.model),
    path("healthz", probes.healthz),
    path("readyz", probes.readyz),
    path("metrics", probes.metrics),
]

PREFIXES = ("/v1/", "//v1/", "/api/chat/", "//api/chat/")
"""Some clients join an address that ends in a slash with a path that begins with one."""

PATHS = ("/healthz", "/readyz", "/metrics")
