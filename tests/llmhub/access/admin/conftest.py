from __future__ import annotations

import pytest

from llmhub.access.models import Application


@pytest.fixture
def application(db: None) -> Application:
    return Application.objects.create(name="support-bot")
