"""The admin's pages by their models, with a row to show on each; what they say and ask."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule

from chat.ledger.append import append_events
from llmhub.access.models import ApiKey, Application
from providers.models import ConnectionTest, ConnectionTestSource, HealthCheck, ProviderConfig, ProviderModel
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id


def add_one_of_each() -> None:
    """Add what migrations did not."""
    provider, now = ProviderConfig.objects.get(), timezone.now()
    ProviderModel.objects.create(provider=provider, name="qwen", first_seen_at=now, last_seen_at=now)
    test = ConnectionTest.objects.begin(provider, actor="ann", address="192.0.2.1", through=ConnectionTestSource.FORM)
    test.end(ok=True, words="The connection works.")
    HealthCheck.objects.create(provider=provider, at=now, ok=True, latency_ms=1)
    Authenticator.objects.create(user=User.objects.create_user("bob"), type="totp", data={})
    ApiKey.objects.issue(Application.objects.create(name="demo"), name="first", scopes=["chat"])
    Group.objects.create(name="reviewers")
    CrontabSchedule.objects.create()
    ClockedSchedule.objects.create(clocked_time=now)
    chat_id = new_chat_id()
    append_events([make_intent(chat_id), make_outcome(chat_id)])


def url(model: type[Model], verb: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{verb}", args=args)


def said(answer: Any) -> list[str]:
    """What a page tells of what was done."""
    assert answer.status_code == 200
    return [str(message) for message in answer.context["messages"]]


def count_queries(client: Client, path: str) -> int:
    """Ask twice, as what is kept for later must not count for the first alone."""
    client.get(path)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)
