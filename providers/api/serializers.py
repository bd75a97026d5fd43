"""Serializers of the provider API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from providers.models import Health, ProviderConfig
from providers.types import ProviderType

TYPES = [kind.value for kind in ProviderType]


INVALID_TYPE: dict[str, Any] = {"invalid_choice": f"`{{input}}` is none of {', '.join(TYPES)}."}


class NoUnknownFieldsMixin:
    """Rejects unknown fields by name."""

    def to_internal_value(self, data: Any) -> Any:
        fields = self.fields  # type: ignore[attr-defined]  # of the serializer that this is mixed into
        unknown = sorted(set(data) - set(fields)) if isinstance(data, dict) else []
        if unknown:
            raise serializers.ValidationError({str(name)[:100]: ["Unknown field."] for name in unknown})
        return super().to_internal_value(data)  # type: ignore[misc]  # likewise


class ProviderChange(NoUnknownFieldsMixin, serializers.Serializer[ProviderConfig]):
    """The changeable fields of a provider. The model validates what depends on the type."""

    __repr__ = object.__repr__  # DRF's repr would show the submitted key

    provider_type = serializers.ChoiceField(choices=TYPES, required=False, error_messages=INVALID_TYPE)
    api_key = serializers.CharField(
        required=False, allow_blank=True, max_length=4096, write_only=True, help_text="Never shown again; empty: none."
    )
    base_url = serializers.CharField(
        required=False, allow_blank=True, max_length=500, help_text="Empty: the type's default URL."
    )
    default_model = serializers.CharField(required=False, allow_blank=True, max_length=200)
    enabled = serializers.BooleanField(required=False)
    priority = serializers.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, help_text="Lower is tried earlier."
    )
    rate_limit = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=2**31 - 1,
        help_text="Requests a minute; null: no limit.",
    )
    timeout = serializers.IntegerField(required=False, min_value=1, max_value=3600, help_text="Seconds.")
    settings = serializers.DictField(required=False, help_text="Settings of the type.")


class ProviderRegistration(ProviderChange):
    name = serializers.CharField(max_length=100, help_text="Lower-case letters, digits, dots and dashes.")
    provider_type = serializers.ChoiceField(choices=TYPES, error_messages=INVALID_TYPE)


class ProviderSummary(serializers.ModelSerializer[ProviderConfig]):
    type = serializers.ChoiceField(choices=TYPES, source="provider_type")
    base_url = serializers.CharField(source="effective_base_url")
    health = serializers.ChoiceField(choices=Health.choices)

    class Meta:
        model = ProviderConfig
        fields = ("type", "enabled", "default_model", "base_url", "health", "last_checked_at", "priority")


class ProviderDetail(ProviderSummary):
    """One provider, its key masked."""

    api_key = serializers.SerializerMethodField(help_text="The last four characters; null: none.")
    api_key_set = serializers.SerializerMethodField()
    models = serializers.ListField(child=serializers.CharField(), source="model_names")
    settings = serializers.DictField()

    class Meta:
        model = ProviderConfig
        fields = (
            "name",
            *ProviderSummary.Meta.fields,
            "is_default",
            "rate_limit",
            "timeout",
            "settings",
            "api_key",
            "api_key_set",
            "models",
            "health_changed_at",
            "last_error",
            "created_at",
            "updated_at",
        )

    def get_api_key(self, row: ProviderConfig) -> str | None:
        return row.api_key.masked if row.api_key else None

    def get_api_key_set(self, row: ProviderConfig) -> bool:
        return bool(row.api_key)


class ProviderList(serializers.Serializer[Any]):
    default_provider = serializers.CharField(allow_null=True)
    providers = serializers.DictField(child=ProviderSummary(), help_text="By name, in the order of failover.")


class Registered(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="`registered`")
    provider = serializers.CharField()


class DefaultSet(serializers.Serializer[Any]):
    status = serializers.CharField(help_text="`ok`")
    default_provider = serializers.CharField()


class Checked(serializers.Serializer[Any]):
    name = serializers.CharField()
    ok = serializers.BooleanField()
    latency_ms = serializers.IntegerField()
    error = serializers.CharField(allow_null=True)


class Refreshed(serializers.Serializer[Any]):
    name = serializers.CharField()
    models = serializers.ListField(child=serializers.CharField())
