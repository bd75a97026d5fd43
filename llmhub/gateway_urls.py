"""What the lean handler serves: chats, the model list, and the probes of this process."""

from django.urls import path

from chat.api import gateway
from llmhub import probes

urlpatterns = [
    path("api/chat/multi", gateway.chat_multi),
    path("v1/chat/completions", gateway.chat_completions),
    path("v1/models", gateway.models),
    path("v1/models/<path:model_id>", gateway.model),
    path("healthz", probes.healthz),
    path("readyz", probes.readyz),
    path("metrics", probes.metrics),
]

PREFIXES = ("/v1/", "/api/chat/")
PATHS = ("/healthz", "/readyz", "/metrics")
