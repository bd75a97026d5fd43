"""The admin's lists and first pages ask the database as often for a hundred rows as for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask

from chat.history.models import Chat
from chat.ledger.append import append_events
from chat.ledger.entries import WriterIdentity
from chat.ledger.models import LedgerEvent, LedgerWriterRecord
from chat.ledger.writer import SEEN
from llmhub.access.models import ApiKey, Application
from llmhub.history.models import Change
from providers.models import ConnectionTest, ConnectionTestSource, HealthCheck, ProviderConfig, ProviderModel
from tests.admin_pages import add_one_of_each, count_queries, url
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id

pytestmark = pytest.mark.django_db
MANY = 100
MOST_QUERIES = 24


def add_user(n: int) -> User:
    user = User.objects.create_user(f"user-{n}", is_staff=True)
    user.groups.add(Group.objects.get(name="Operator"))
    return user


def add_second_factor(n: int) -> Any:
    return Authenticator.objects.create(user=add_user(n), type="totp", data={})


def add_group(n: int) -> Any:
    group = Group.objects.create(name=f"group-{n}")
    group.permissions.set(Permission.objects.all()[:3])
    return group


def add_key(n: int) -> Any:
    application = Application.objects.create(name=f"app-{n}")
    return ApiKey.objects.issue(application, name="production", scopes=["chat"])


def add_provider(n: int) -> Any:
    now = timezone.now()
    provider = ProviderConfig.objects.create(name=f"provider-{n}", provider_type="openai", api_key=f"sk-{n}")
    ProviderModel.objects.create(provider=provider, name="m", first_seen_at=now, last_seen_at=now)
    return HealthCheck.objects.create(provider=provider, at=now, ok=n % 2 == 0, latency_ms=n, error="refused")


def add_test(n: int) -> Any:
    row = ProviderConfig(name=f"provider-{n}", provider_type="openai")
    test = ConnectionTest.objects.begin(row, actor=f"user-{n}", address="", through=ConnectionTestSource.API)
    return test.end(ok=False, words="refused")


def add_chat(n: int) -> Any:
    chat_id = new_chat_id()
    return append_events([make_intent(chat_id), make_outcome(chat_id)])


def add_seat(n: int) -> Any:
    identity = WriterIdentity()
    with connection.cursor() as cursor:
        cursor.execute(SEEN, (identity.writer_id, identity.secret, "web", f"host-{n}", n))
    return identity


def add_task(n: int) -> Any:
    interval = IntervalSchedule.objects.create(every=n + 1, period="hours")
    return PeriodicTask.objects.create(name=f"task-{n}", task="chat.history.tasks.usage_rollup", interval=interval)


ADD: dict[Any, Callable[[int], Any]] = {
    Authenticator: add_second_factor,
    User: add_user,
    Group: add_group,
    Application: add_key,
    ApiKey: add_key,
    ProviderConfig: add_provider,
    ProviderModel: add_provider,
    HealthCheck: add_provider,
    ConnectionTest: add_test,
    Change: add_provider,
    Chat: add_chat,
    LedgerEvent: add_chat,
    LedgerWriterRecord: add_seat,
    PeriodicTask: add_task,
    IntervalSchedule: add_task,
    CrontabSchedule: lambda n: CrontabSchedule.objects.create(minute=str(n % 60), hour=str(n // 60)),
    ClockedSchedule: lambda _: ClockedSchedule.objects.create(clocked_time=timezone.now()),
}


def add_of_each(n: int) -> None:
    for add in (add_second_factor, add_key, add_provider, add_chat):
        add(n)


def test_every_list_has_rows_to_be_counted_with():
    assert set(ADD) == set(admin.site._registry)


@pytest.mark.parametrize("model", ADD, ids=lambda model: model._meta.label)
def test_a_list_asks_no_more_for_many_rows_than_for_few(admin_client, model):
    add_one_of_each()
    path = url(model, "changelist")

    few = count_queries(admin_client, path)
    for n in range(MANY):
        ADD[model](n)

    assert model._default_manager.count() >= MANY
    assert count_queries(admin_client, path) <= few <= MOST_QUERIES


@pytest.mark.parametrize("path", ["/admin/", "/admin/?period=14d", "/admin/playground/"])
def test_a_page_about_everything_asks_no_more_when_there_is_much(admin_client, path):
    add_of_each(MANY)

    few = count_queries(admin_client, path)
    for n in range(MANY):
        add_of_each(n)

    assert count_queries(admin_client, path) <= few <= MOST_QUERIES
