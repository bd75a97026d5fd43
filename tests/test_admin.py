"""Every page of the admin opens, for a superuser and for staff who may do nothing."""

from __future__ import annotations

import re

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from pghistory.models import Event as HistoryEvent

from chat.history.models import Chat
from chat.ledger.models import LedgerEvent, LedgerWriterRecord
from llmhub.access.models import ApiKey, Application
from llmhub.history.models import Change
from llmhub.operations.models import BootstrapRecord, Heartbeat, TaskResult
from providers.models import ConnectionTest, HealthCheck, ProviderConfig, ProviderModel
from tests.admin_pages import add_one_of_each, url
from tests.people import member_of

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
NOT_ADDED_HERE = {Chat, LedgerEvent, LedgerWriterRecord, ConnectionTest, HealthCheck, Change, Authenticator}
UNREGISTERED = {
    "ledger.ChatContent",
    "chat.UsageRollup",
    "chat.RolledBucket",
    "operations.Heartbeat",
    "operations.BootstrapRecord",
    "operations.TaskResult",
    "providers.ConnectionTestOutcome",
}
OURS = {"access", "providers", "ledger", "chat", "history", "people", "operations"}
EXTERNAL = re.compile(r'(?:src|href|action)="(https?:)?//')


@pytest.fixture
def one_of_each() -> None:
    add_one_of_each()


def test_every_model_is_registered_or_left_out_on_purpose():
    ours = {model for app in OURS for model in apps.get_app_config(app).get_models() if not model._meta.proxy}
    rows = {model._meta.label for model in ours if not issubclass(model, HistoryEvent)}

    assert rows - {model._meta.label for model in MODELS} == UNREGISTERED


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_list_search_form_and_row_open(admin_client, one_of_each, model):
    row = model._default_manager.first()
    lists = [admin_client.get(url(model, "changelist"), query) for query in ({}, {"q": "a<b"}, {"p": "1"})]
    pages = (
        [admin_client.get(url(model, verb, quote(row.pk)), follow=True) for verb in ("change", "history")]
        if row
        else []
    )
    form = admin_client.get(url(model, "add"))

    assert [answer.status_code for answer in (*lists, *pages)] == [200] * (3 + len(pages))
    assert form.status_code == (403 if model in NOT_ADDED_HERE else 200)
    for answer in (*lists, *pages, form):
        assert not EXTERNAL.search(answer.content.decode())


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (ProviderConfig, "api_key__startswith"),
        (ProviderModel, "provider__api_key__startswith"),
        (HealthCheck, "provider__api_key__startswith"),
        (ApiKey, "digest__startswith"),
        (Application, "keys__digest__startswith"),
        (User, "password__startswith"),
        (Group, "user__password__startswith"),
        (Authenticator, "data__secret__startswith"),
        (Authenticator, "user__password__startswith"),
        (Chat, "end_user__startswith"),
        (LedgerEvent, "event__contains"),
    ],
)
def test_nobody_guesses_what_no_list_shows_letter_by_letter(admin_client, one_of_each, model, lookup):
    response = admin_client.get(url(model, "changelist"), {lookup: "a"})

    assert response.status_code == 400


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_staff_without_permission_sees_nothing(model):
    client = member_of()

    assert client.get(url(model, "changelist")).status_code == 403
    assert client.get(url(model, "add")).status_code == 403


def test_the_sidebar_shows_what_a_user_may_see(admin_client):
    links = sidebar_links(admin_client)
    staff = member_of()

    assert {"/admin/", "/admin/playground/", "/admin/chat/chat/", "/admin/history/change/"} <= links
    assert all(admin_client.get(link).status_code == 200 for link in links)
    assert sidebar_links(staff) == {"/admin/"}


def sidebar_links(client: Client) -> set[str]:
    groups = client.get("/admin/").context["sidebar_navigation"]
    return {str(item["link"]) for group in groups for item in group["items"]}


def test_the_root_leads_to_the_admin_and_its_login(client):
    assert client.get("/").headers["location"] == "/admin/"
    assert client.get("/admin").headers["location"] == "/admin/"
    assert client.get("/admin/").headers["location"] == "/admin/login/?next=/admin/"
    assert client.get("/admin/login/?next=/admin/", follow=True).status_code == 200


def test_a_schedule_is_edited(admin_client):
    task = PeriodicTask.objects.get(task="providers.tasks.check_health")
    form = admin_client.get(url(PeriodicTask, "change", task.pk)).context["adminform"].form
    sent = {name: form[name].value() or "" for name in form.fields} | {"expire_seconds": "7", "enabled": ""}

    answer = admin_client.post(url(PeriodicTask, "change", task.pk), {k: v for k, v in sent.items() if v != ""})

    task.refresh_from_db()
    assert (answer.status_code, task.expire_seconds, task.enabled) == (302, 7, False)


def test_signs_of_life_have_words():
    now = timezone.now()

    assert str(Heartbeat(part="beat", at=now)).startswith("beat at ")
    assert str(BootstrapRecord(name="demo")) == "demo"
    assert str(TaskResult(name="Nightly", error="KeyError")) == "Nightly: KeyError"
