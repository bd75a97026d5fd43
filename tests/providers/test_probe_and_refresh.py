from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from celery.signals import after_task_publish

from providers.manager import get_provider_manager
from providers.models import Health, HealthCheck, ProviderConfig
from providers.tasks import probe_and_refresh
from tests import fakes
from tests.clients import client_with
from tests.fakes import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def published(receiver: Callable[..., None]) -> Iterator[None]:
    """Have Celery tell of every message that the broker took."""
    after_task_publish.connect(receiver, weak=False)
    yield
    after_task_publish.disconnect(receiver)


def register(fake: FakeProvider) -> ProviderConfig:
    row, _ = get_provider_manager().register_provider("new", provider_type="custom", base_url=fake.url)
    return row


def test_a_look_finds_health_and_models(upstream):
    row = register(upstream)

    probe_and_refresh(provider_id=row.pk)

    row.refresh_from_db()
    assert row.health == Health.HEALTHY
    assert row.model_names == ["fake-large", "fake-small"]


def test_a_look_at_a_provider_that_does_not_answer_keeps_why(upstream):
    row = register(upstream)
    upstream.probe_faults.append(fakes.status(500))

    probe_and_refresh(provider_id=row.pk)

    row.refresh_from_db()
    assert (row.health, row.model_names) == (Health.UNHEALTHY, [])
    assert row.last_error


def test_a_look_at_a_provider_that_is_gone_does_nothing():
    probe_and_refresh(provider_id=0)

    assert not HealthCheck.objects.exists()


def test_a_provider_that_is_registered_is_looked_at_by_the_worker(upstream):
    sent = []
    body = {"name": "new", "provider_type": "custom", "base_url": upstream.url}

    with published(lambda sender, body, **_: sent.append((sender, body[1]))):
        client_with("providers:write").post("/api/providers/register", body, format="json")

    row = ProviderConfig.objects.get(name="new")
    assert sent == [("providers.tasks.probe_and_refresh", {"provider_id": row.pk})]


def test_without_a_broker_a_provider_is_saved_all_the_same():
    saving = (
        "import django; django.setup(); from providers.tasks import probe_and_refresh_soon; probe_and_refresh_soon(1)"
    )

    saved = subprocess.run(
        [sys.executable, "-c", saving],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "llmhub.settings", "REDIS_URL": "redis://127.0.0.1:9/0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert "No look at provider 1 before the next round" in saved.stderr
