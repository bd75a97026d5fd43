"""The error object of the hub's own API, as its schema shows it."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class ErrorDetailSerializer(serializers.Serializer[Any]):
    type = serializers.CharField()
    message = serializers.CharField()
    code = serializers.CharField(allow_null=True)
    param = serializers.CharField(allow_null=True)


class ErrorSerializer(serializers.Serializer[Any]):
    """Every answer that is an error."""

    error = ErrorDetailSerializer()
