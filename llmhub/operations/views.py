"""The hub's status, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from llmhub.access.authentication import ApiKeyAuthentication
from llmhub.access.live_keys import API_KEYS
from llmhub.access.principals import KeyEntry, Scope
from llmhub.operations.status import Database, check_database, get_status
from providers.api.views import AUTH_ERRORS

STATES = ["ok", "degraded"]


class LastKnownKeyAuthentication(ApiKeyAuthentication):
    """Uses the keys in memory while the database is down."""

    def entries(self, presented: Sequence[str]) -> Mapping[str, KeyEntry]:
        if check_database() is Database.AWAY:
            return API_KEYS.get()
        return super().entries(presented)


class OllamaStatus(serializers.Serializer[Any]):
    connected = serializers.BooleanField()


class CeleryStatus(serializers.Serializer[Any]):
    worker = serializers.BooleanField()
    beat = serializers.BooleanField()


class PendingAction(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()


class HubStatus(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=STATES)
    version = serializers.CharField()
    default_provider = serializers.CharField(allow_null=True)
    ollama = OllamaStatus()
    database = serializers.BooleanField()
    redis = serializers.BooleanField()
    celery = CeleryStatus()
    pending_actions = PendingAction(many=True)


class StatusView(APIView):
    authentication_classes = [LastKnownKeyAuthentication, SessionAuthentication]
    scopes = {"GET": Scope.PROVIDERS_READ}

    @extend_schema(
        operation_id="status",
        summary="Get the status of the hub",
        description="Lists problems that an admin should fix. Calls no provider.",
        auth=[{"apiKey": []}, {"cookieAuth": []}],  # type: ignore[list-item]  # OpenAPI wants objects
        responses={200: HubStatus} | AUTH_ERRORS,
    )
    def get(self, _request: Request) -> Response:
        return Response(get_status(now=timezone.now()).body())
