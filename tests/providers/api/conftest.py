from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from llmhub.access.principals import Scope
from tests.clients import client_with


@pytest.fixture
def client(db: None) -> APIClient:
    """A client that may do everything with providers."""
    return client_with(Scope.PROVIDERS_READ, Scope.PROVIDERS_WRITE)
