"""Nobody gets more than they have: not by hidden fields, by other people's rows, or by a page of another site."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from celery import current_app
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from providers.models import ProviderConfig, ProviderModel
from tests.admin_pages import add_one_of_each, url
from tests.clients import client_with
from tests.fakes import FakeProvider
from tests.people import make_staff, member_of, signed_in
from tests.providers.admin.rows import LIST, fields_of, page_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def rows() -> None:
    add_one_of_each()


@pytest.fixture
def trap() -> Iterator[FakeProvider]:
    with FakeProvider("custom") as fake:
        yield fake


def stored(row: Any, *but: str) -> dict[str, Any]:
    """All columns of a row as they stand, but those that a form may move."""
    values = type(row).objects.filter(pk=row.pk).values()[0]
    return {name: value for name, value in values.items() if name not in (*but, "updated_at")}


def test_an_operator_moves_no_provider_by_fields_that_the_form_does_not_show(trap):
    row = ProviderConfig.objects.get()
    before = stored(row, "priority")
    sent = fields_of(row, priority=7, base_url=trap.url, api_key="sk-evil-0123456789", provider_type="custom")
    sent |= {"name": "evil", "is_default": "", "health": "healthy", "settings": "{}", "setting_extra_headers": "{}"}

    answer = member_of("Operator").post(page_of(row), sent)

    assert answer.status_code == 302
    assert stored(row, "priority") == before


def test_an_operator_tries_no_connection_to_another_place(trap):
    row = ProviderConfig.objects.get()
    ProviderConfig.objects.update(base_url="http://127.0.0.1:9/v1")

    member_of("Operator").post(f"{LIST}{row.pk}/try/", fields_of(row, base_url=trap.url, provider_type="custom"))

    assert trap.connections == 0


def test_who_puts_providers_in_order_changes_nothing_else_about_them():
    row = ProviderConfig.objects.get()
    before = stored(row, "priority")
    sent = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": row.pk,
        "form-0-priority": 3,
        "initial-form-0-priority": row.priority,
        "form-0-base_url": "http://127.0.0.1:1/v1",
        "form-0-api_key": "sk-evil-0123456789",
        "form-0-enabled": "",
        "form-0-is_default": "",
        "_save": "Save",
    }

    member_of("Operator").post(LIST, sent)

    assert stored(row, "priority") == before


def test_a_model_is_moved_to_no_other_provider_or_name():
    model, other = ProviderModel.objects.get(), ProviderConfig.objects.create(name="other", provider_type="ollama")
    sent = {"name": "evil", "provider": other.pk, "first_seen_at_0": "2020-01-01", "context_window": 5}

    member_of("Operator").post(url(ProviderModel, "change", model.pk), sent)

    after = ProviderModel.objects.get()
    assert (after.name, after.provider_id, after.first_seen_at) == (model.name, model.provider_id, model.first_seen_at)


@pytest.mark.parametrize("field", ["digest", "prefix", "revoked_at", "last_used_at", "created_at", "application"])
def test_a_keys_form_takes_no_field_that_it_does_not_show(admin_client, field):
    key, other = ApiKey.objects.get(), Application.objects.create(name="other")
    before = stored(key, "name", "scopes")
    value = {"application": other.pk, "digest": "0" * 64, "prefix": "evil"}.get(field, "2020-01-01")
    sent = {"name": "renamed", "scopes": ["chat"], "lifetime": "never", field: value, f"{field}_0": value}

    answer = admin_client.post(url(ApiKey, "change", key.pk), sent)

    assert answer.status_code == 302
    assert stored(key, "name", "scopes") == before


def test_a_revoked_key_is_brought_back_by_nothing(admin_client):
    key = ApiKey.objects.get()
    ApiKey.objects.update(revoked_at=timezone.now())
    sent = {"name": "back", "scopes": ["chat"], "lifetime": "never", "revoked_at": "", "revoked_at_0": ""}

    answers = [
        admin_client.post(url(ApiKey, "change", key.pk), sent),
        member_of("Admin").post(url(ApiKey, "change", key.pk), sent),
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert ApiKey.objects.get().revoked_at


def test_whoever_may_issue_keys_and_nothing_else_issues_none_that_may_more():
    keeper = make_staff("keeper", permissions=("add_apikey", "change_apikey", "view_apikey", "view_application"))
    client, application = signed_in(keeper), Application.objects.get()
    before = ApiKey.objects.count()

    for scope in Scope.values:
        fields = {"application": application.pk, "name": "mine", "scopes": [scope], "lifetime": "30"}
        assert client.post(url(ApiKey, "add"), fields).status_code == 200
        client.post(url(ApiKey, "change", ApiKey.objects.get().pk), fields | {"scopes": [*Scope.values]})

    assert ApiKey.objects.count() == before
    assert ApiKey.objects.get().scopes == ["chat"]


API_FIELDS = ("id", "pk", "name", "is_default", "health", "last_error", "created_at", "api_key_set_at", "models", "x")


@pytest.mark.parametrize("field", API_FIELDS)
def test_the_api_takes_no_field_that_it_does_not_name(field):
    client, before = client_with(Scope.PROVIDERS_WRITE), stored(ProviderConfig.objects.get())

    answer = client.patch("/api/providers/ollama", {field: "evil", "priority": 1}, format="json")

    assert answer.status_code == 400
    assert stored(ProviderConfig.objects.get()) == before


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_opens_no_page_of_the_admin(scope):
    client = client_with(scope)

    assert {client.get(path).status_code for path in ("/admin/", LIST, url(ApiKey, "add"), "/admin/playground/")} == {
        302
    }


def test_a_key_beside_a_session_is_what_counts():
    client = client_with(Scope.CHAT)
    client.force_login(User.objects.create_superuser("root"))

    assert client.get("/api/audit/chats").status_code == 403
    assert client.delete("/api/providers/ollama").status_code == 403


WRITES = [
    ("post", "/api/providers/register"),
    ("patch", "/api/providers/ollama"),
    ("delete", "/api/providers/ollama"),
    ("post", "/api/providers/ollama/default"),
    ("post", "/api/providers/ollama/check"),
    ("post", "/api/providers/ollama/refresh"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_a_page_of_another_site_does_nothing_with_a_session(method, path, kind):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))
    before = stored(ProviderConfig.objects.get())

    answer = getattr(client, method)(path, '{"name":"evil"}', kind, headers={"origin": "https://evil.example"})

    assert answer.status_code in (403, 415)
    assert stored(ProviderConfig.objects.get()) == before


def admin_posts() -> list[str]:
    key, provider, task = ApiKey.objects.get(), ProviderConfig.objects.get(), PeriodicTask.objects.all()[0]
    return [
        reverse("admin:access_apikey_revoke"),
        reverse("admin:access_application_do", args=[key.application_id, "switch_off"]),
        reverse("admin:providers_providerconfig_do", args=[provider.pk, "disable"]),
        reverse("admin:providers_providerconfig_try", args=[provider.pk]),
        reverse("admin:django_celery_beat_periodictask_do", args=[task.pk, "disable"]),
        reverse("admin:auth_user_password_change", args=[User.objects.get(username="bob").pk]),
        reverse("admin:password_change"),
        reverse("admin:logout"),
        reverse("account_logout"),
        reverse("mfa_deactivate_totp"),
        reverse("playground-snippets"),
        url(User, "add"),
        url(ApiKey, "add"),
        url(ProviderConfig, "delete", provider.pk),
    ]


def test_no_form_of_the_admin_is_taken_without_its_token():
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))

    assert {path: client.post(path, {"post": "yes"}).status_code for path in admin_posts()} == dict.fromkeys(
        admin_posts(), 403
    )


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "http:evil.example",
        "\tx://e",
    ],
)
def test_no_button_leads_to_another_site(admin_client, elsewhere):
    provider = ProviderConfig.objects.get()
    page = reverse("admin:providers_providerconfig_do", args=[provider.pk, "enable"])

    answer = admin_client.post(page, {"next": elsewhere})

    assert answer.headers["location"] == LIST


def test_a_second_factor_of_who_may_do_more_is_taken_by_nobody_below():
    root = User.objects.create_superuser("root")
    factor = Authenticator.objects.create(user=root, type="totp", data={})
    client = member_of("Admin")

    answer = client.post(url(Authenticator, "delete", factor.pk), {"post": "yes"})
    client.post(
        url(Authenticator, "changelist"), {"action": "delete_selected", "_selected_action": [factor.pk], "post": "yes"}
    )

    assert answer.status_code == 403
    assert Authenticator.objects.filter(pk=factor.pk).exists()


@pytest.mark.parametrize("field", ["is_superuser", "is_staff", "groups", "user_permissions", "password", "last_login"])
def test_nobody_gives_themselves_anything_by_their_own_pages(field):
    staff = make_staff("own")
    client = signed_in(staff)
    before = stored(staff, "last_login")
    value = {"groups": Group.objects.get(name="Admin").pk, "user_permissions": Permission.objects.all()[0].pk}.get(
        field, "on"
    )

    client.post(url(User, "change", staff.pk), {"username": "own", field: value})
    client.post(reverse("admin:password_change"), {field: value, "new_password1": "x", "new_password2": "x"})

    assert stored(staff, "last_login") == before
    assert not staff.groups.exists()
    assert not staff.user_permissions.exists()


def test_whoever_loses_a_right_loses_it_at_once():
    user = make_staff("gone", group="Admin")
    client = signed_in(user)
    before = client.get(LIST).status_code

    user.groups.clear()
    without_group = client.get(LIST).status_code
    User.objects.filter(pk=user.pk).update(is_active=False)
    switched_off = client.get(LIST)

    assert (before, without_group, switched_off.status_code) == (200, 403, 302)
    assert "login" in switched_off.headers["location"]


@pytest.mark.parametrize(
    "task",
    [
        "os.system",
        "celery.backend_cleanup",
        "celery.chain",
        "celery.map",
        "celery.starmap",
        "django.core.management.call_command",
    ],
)
def test_nothing_is_scheduled_but_the_hubs_own_tasks(admin_client, task):
    row = PeriodicTask.objects.get(task="providers.tasks.check_health")
    form = admin_client.get(url(PeriodicTask, "change", row.pk)).context["adminform"].form
    sent = {name: value for name in form.fields if (value := form[name].value()) not in (None, False, "")}

    answer = admin_client.post(url(PeriodicTask, "change", row.pk), sent | {"task": task, "args": '["id"]'})

    assert answer.status_code == 200
    assert "task" in answer.context["adminform"].form.errors
    assert PeriodicTask.objects.get(pk=row.pk).task == row.task


@pytest.mark.parametrize("field", ["headers", "routing_key", "exchange", "solar", "priority", "total_run_count"])
def test_a_schedule_takes_no_field_that_its_form_does_not_show(admin_client, field):
    row = PeriodicTask.objects.get(task="providers.tasks.check_health")
    form = admin_client.get(url(PeriodicTask, "change", row.pk)).context["adminform"].form
    sent = {name: value for name in form.fields if (value := form[name].value()) not in (None, False, "")}
    before = stored(row, "description", "date_changed")

    answer = admin_client.post(url(PeriodicTask, "change", row.pk), sent | {"description": "x", field: '{"x": 1}'})

    assert answer.status_code == 302
    assert stored(row, "description", "date_changed") == before


def test_the_hubs_tasks_take_ids_and_nothing_that_runs():
    current_app.loader.import_default_modules()
    ours = {name: task for name, task in current_app.tasks.items() if not name.startswith("celery.")}
    parameters = {name for task in ours.values() for name in inspect.signature(task.run).parameters}

    assert {name for name in parameters if not name.endswith("_id")} == set()


def test_a_broker_that_others_write_to_hands_over_data_alone():
    assert set(current_app.conf.accept_content) == {"json"}
    assert current_app.conf.task_serializer == current_app.conf.result_serializer == "json"
