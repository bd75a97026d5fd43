"""The provider API."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import as_serializer_error
from rest_framework.views import APIView

from llmhub.access.authentication import request_principal
from llmhub.access.principals import Scope
from llmhub.http.client_address import client_address
from llmhub.http.serializers import ErrorSerializer
from providers.api import serializers
from providers.manager import ProviderManager, check_all_now, get_provider_manager, run
from providers.models import ConnectionTest, ConnectionTestSource, ProviderConfig, UnrecordedTestError
from providers.tasks import probe_and_refresh_soon

READ = {"GET": Scope.PROVIDERS_READ}
WRITE = {"POST": Scope.PROVIDERS_WRITE}
IS_TRUE = ("1", "true")

AUTH_ERRORS = {401: ErrorSerializer, 403: ErrorSerializer}
NOT_FOUND = AUTH_ERRORS | {404: ErrorSerializer}
NOT_VALID = AUTH_ERRORS | {400: ErrorSerializer}
TOO_MANY = {429: OpenApiResponse(ErrorSerializer, "Too many callers wait for providers.")}
FAILED_UPSTREAM = {code: OpenApiResponse(ErrorSerializer, "The provider failed.") for code in (429, 502, 503, 504)}


class UnrecordedCheckError(APIException):
    status_code = 503
    default_code = "record_unavailable"


def by_name(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": value}


class ProviderView(APIView):
    """Maps the manager's errors to API errors."""

    @property
    def manager(self) -> ProviderManager:
        return get_provider_manager()

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, ProviderConfig.DoesNotExist):
            exc = NotFound(f"There is no provider named `{self.kwargs.get('name')}`.", code="provider_not_found")
        elif isinstance(exc, ModelValidationError):
            exc = ValidationError(as_serializer_error(exc))
        elif isinstance(exc, UnrecordedTestError):
            exc = UnrecordedCheckError(str(exc))
        return super().handle_exception(exc)


class ProvidersView(ProviderView):
    scopes = READ

    @extend_schema(
        operation_id="providers_list", summary="List providers", responses={200: serializers.ProviderList} | AUTH_ERRORS
    )
    def get(self, _request: Request) -> Response:
        rows = list(ProviderConfig.objects.in_order())
        summaries = {row.name: serializers.ProviderSummary(row).data for row in rows}
        default = next((row.name for row in rows if row.is_default), None)
        return Response({"default_provider": default, "providers": summaries})


class RegisterView(ProviderView):
    scopes = WRITE

    @extend_schema(
        operation_id="providers_register",
        summary="Add a provider, or change the one of that name",
        description="Omitted fields keep their values.",
        request=serializers.ProviderRegistration,
        responses={200: serializers.Registered, 201: serializers.Registered} | NOT_VALID,
    )
    def post(self, request: Request) -> Response:
        serializer = serializers.ProviderRegistration(data=request.data)
        serializer.is_valid(raise_exception=True)
        row, is_new = self.manager.register_provider(**serializer.validated_data)
        probe_and_refresh_soon(row.pk)
        code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        return Response({"status": "registered", "provider": row.name}, status=code)


class OneProviderView(ProviderView):
    scopes = READ | {"PATCH": Scope.PROVIDERS_WRITE, "DELETE": Scope.PROVIDERS_WRITE}

    @extend_schema(
        operation_id="providers_retrieve",
        summary="Show a provider",
        responses={200: serializers.ProviderDetail} | NOT_FOUND,
    )
    def get(self, _request: Request, name: str) -> Response:
        return Response(serializers.ProviderDetail(ProviderConfig.objects.get(name=name)).data)

    @extend_schema(
        operation_id="providers_change",
        summary="Change a provider",
        description="Omitted fields keep their values.",
        request=serializers.ProviderChange,
        responses={200: serializers.ProviderDetail} | NOT_FOUND | NOT_VALID,
    )
    def patch(self, request: Request, name: str) -> Response:
        serializer = serializers.ProviderChange(data=request.data)
        serializer.is_valid(raise_exception=True)
        row = self.manager.change_provider(name, **serializer.validated_data)
        probe_and_refresh_soon(row.pk)
        return Response(serializers.ProviderDetail(row).data)

    @extend_schema(
        operation_id="providers_remove",
        summary="Remove a provider",
        description="The default moves to the next by priority; past chats keep the name.",
        responses={204: None} | NOT_FOUND,
    )
    def delete(self, _request: Request, name: str) -> Response:
        self.manager.remove_provider(name)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DefaultView(ProviderView):
    scopes = WRITE

    @extend_schema(
        operation_id="providers_set_default",
        summary="Make a provider the default",
        request=None,
        responses={200: serializers.DefaultSet} | NOT_FOUND,
    )
    def post(self, _request: Request, name: str) -> Response:
        return Response({"status": "ok", "default_provider": self.manager.set_default(name).name})


class CheckView(ProviderView):
    scopes = WRITE

    @extend_schema(
        operation_id="providers_check",
        summary="Probe a provider now",
        description="Costs no tokens. The check is recorded.",
        request=None,
        responses={200: serializers.Checked, 503: ErrorSerializer} | NOT_FOUND | TOO_MANY,
    )
    def post(self, request: Request, name: str) -> Response:
        row, principal = ProviderConfig.objects.get(name=name), request_principal(request)
        test = ConnectionTest.objects.begin(
            row,
            actor=principal.name if principal else "",
            address=client_address(request),
            through=ConnectionTestSource.API,
        )
        probe = run(self.manager.health_check, name)
        test.end(ok=probe.ok, words=probe.error)
        return Response({"name": name, "ok": probe.ok, "latency_ms": probe.latency_ms, "error": probe.error or None})


class RefreshView(ProviderView):
    scopes = WRITE

    @extend_schema(
        operation_id="providers_refresh",
        summary="Refresh a provider's models now",
        request=None,
        responses={200: serializers.Refreshed} | NOT_FOUND | FAILED_UPSTREAM,
    )
    def post(self, _request: Request, name: str) -> Response:
        return Response({"name": name, "models": run(self.manager.refresh_models, name)})


class HealthView(ProviderView):
    scopes = READ

    @extend_schema(
        operation_id="providers_health",
        summary="Get the health of providers",
        description="As of the last check; false if unchecked. `live=1` probes all enabled providers now; "
        "concurrent callers share one probe.",
        parameters=[OpenApiParameter("live", bool, description="Probe now.")],
        responses={200: by_name({"type": "boolean"})} | AUTH_ERRORS | TOO_MANY,
    )
    def get(self, request: Request) -> Response:
        if request.query_params.get("live") in IS_TRUE:
            check_all_now()
        return Response(ProviderConfig.objects.healthy_by_name())


class ModelsView(ProviderView):
    scopes = READ

    @extend_schema(
        operation_id="providers_models",
        summary="List the models of every provider",
        description="As of the last refresh; a failing provider keeps its last list.",
        responses={200: by_name({"type": "array", "items": {"type": "string"}})} | AUTH_ERRORS,
    )
    def get(self, _request: Request) -> Response:
        return Response(ProviderConfig.objects.models_by_name())
