from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from llmhub.access.models import ApiKey, Application
from providers.models import Health, ProviderConfig, ProviderModel
from tests.people import member_of

pytestmark = pytest.mark.django_db

PAGE, PLAN, SNIPPETS = "/admin/playground/", "/admin/playground/plan/", "/admin/playground/snippets/"


def add_provider(name: str, *, models: tuple[str, ...] = (), gone: tuple[str, ...] = (), **fields: Any) -> None:
    row = ProviderConfig.objects.create(name=name, provider_type="custom", base_url="http://localhost:1/v1", **fields)
    now = timezone.now()
    ProviderModel.objects.bulk_create(
        ProviderModel(provider=row, name=model, listed=model not in gone, first_seen_at=now, last_seen_at=now)
        for model in (*models, *gone)
    )


def add_key(name: str = "production", **fields: Any) -> ApiKey:
    application, _ = Application.objects.get_or_create(name="support-bot")
    row, _ = ApiKey.objects.issue(application, name=name, scopes=["chat"], **fields)
    return row


def config_of(client: Client, **query: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(PAGE, query).context["config"]
    return found


@pytest.mark.parametrize(("group", "status"), [("Admin", 200), ("Operator", 200), ("Reviewer", 403), ("", 403)])
def test_who_may_chat_has_a_playground(group, status):
    client = member_of(group)

    answers = [client.get(PAGE), client.get(PLAN), client.post(SNIPPETS, "{}", content_type="application/json")]

    assert [answer.status_code for answer in answers] == [status] * 3


@pytest.mark.parametrize("path", [PAGE, PLAN, SNIPPETS])
def test_who_is_not_signed_in_is_asked_to(client, path):
    answer = client.get(path)

    assert answer.status_code == 302
    assert "login" in answer.headers["location"]


@pytest.mark.parametrize(("method", "path"), [("post", PAGE), ("post", PLAN), ("get", SNIPPETS)])
def test_other_methods_are_refused(admin_client, method, path):
    assert getattr(admin_client, method)(path).status_code == 405


def test_the_page_offers_the_providers_in_order_and_the_models_they_have(admin_client):
    add_provider("local", models=("smollm2",), gone=("old",), default_model="tiny", priority=1)
    add_provider("off", enabled=False, health=Health.UNHEALTHY)

    page = admin_client.get(PAGE)

    choices = page.context["form"].fields["provider"].choices
    assert [label for _, label in choices] == [
        "Any, in the order of failover",
        "ollama (default)",
        "local",
        "off (disabled, unhealthy)",
    ]
    assert page.context["config"]["models"] == {"ollama": ["llama3.2"], "local": ["smollm2", "tiny"], "off": []}
    assert page.context["config"]["default_models"]["local"] == "tiny"


def test_a_link_chooses_provider_and_model(admin_client):
    add_provider("local", models=("smollm2",))

    page = admin_client.get(PAGE, {"provider": "local", "model": "smollm2"}).content.decode()

    assert '<option value="local" selected>' in page
    assert 'value="smollm2"' in page


def test_a_provider_that_is_gone_stays_chosen_and_is_told_to_be_none(admin_client):
    page = admin_client.get(PAGE, {"provider": "gone"}).content.decode()

    assert '<option value="gone" selected>gone (does not exist)</option>' in page


def test_names_cannot_leave_their_place_in_the_page(admin_client):
    hostile = "</script><script>alert(1)</script>\"'"
    add_provider("local", models=(hostile,))

    page = admin_client.get(PAGE, {"provider": hostile, "model": hostile}).content.decode()

    assert "<script>alert" not in page
    assert hostile not in page


def test_an_application_can_be_asked_as_with_each_of_its_keys_in_force(admin_client):
    key, now = add_key(), timezone.now()
    add_key("revoked", revoked_at=now)
    add_key("expired", expires_at=now - timedelta(days=1))

    choices = admin_client.get(PAGE).context["form"].fields["as_key"].choices

    assert choices == [("", "Myself"), ("Application keys", [(str(key.pk), str(key))])]


def test_who_may_not_see_keys_is_offered_none():
    key = add_key()

    page = member_of(permissions=("use_chat",)).get(PAGE)

    assert "as_key" not in page.context["form"].fields
    assert key.prefix not in page.content.decode()


def test_the_recorded_chat_is_linked_for_who_may_read_it(admin_client):
    assert config_of(admin_client)["chat_url"] == "/admin/chat/chat/"
    assert config_of(member_of("Operator"))["chat_url"] is None


def queries_of_the_page(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(PAGE).status_code == 200
    return len(queries)


def test_a_hundred_providers_and_keys_cost_no_more_queries_than_one(admin_client):
    add_provider("one", models=("a",))
    add_key()
    few = queries_of_the_page(admin_client)

    for i in range(100):
        add_provider(f"p{i}", models=("a", "b"))
        add_key(f"k{i}")

    assert queries_of_the_page(admin_client) == few


def test_a_chat_becomes_commands_without_any_secret(admin_client):
    body = {"provider": "local", "messages": [{"role": "user", "content": "Hi"}], "stream": True}

    answer = admin_client.post(SNIPPETS, json.dumps(body), content_type="application/json").json()

    assert answer["curl"].startswith("curl -N http://testserver/api/chat/multi")
    assert "'http://testserver/api/chat/multi'" in answer["python"]
    for snippet in answer.values():
        assert "LLMHUB_KEY" in snippet
        assert admin_client.session.session_key not in snippet
        assert not {"cookie", "csrf", "as-key"} & set(snippet.lower().split())


@pytest.mark.parametrize("body", ["", "[1]", "{", '{"a": NaN}', '{"a": "\\ud800"}'])
def test_what_the_hub_could_not_read_becomes_no_command(admin_client, body):
    answer = admin_client.post(SNIPPETS, body, content_type="application/json")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def test_commands_are_made_for_the_page_alone():
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("ada"))

    assert client.post(SNIPPETS, "{}", content_type="application/json").status_code == 403
