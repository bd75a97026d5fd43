"""Clients with a key of given scopes."""

from __future__ import annotations

from typing import Any

from rest_framework.test import APIClient

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope


def client_with(*scopes: Scope, **fields: Any) -> APIClient:
    application, _ = Application.objects.get_or_create(name="tester")
    _, secret = ApiKey.objects.issue(application, name="test", scopes=list(scopes), **fields)
    return APIClient(HTTP_AUTHORIZATION=f"Bearer {secret}")
