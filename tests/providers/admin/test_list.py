from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from llmhub.access.secrets import Secret
from llmhub.adminkit.times import exact_time
from providers.models import Health, HealthCheck, ProviderConfig
from providers.types import ModelInfo, ProbeResult
from tests.admin_pages import said
from tests.people import member_of
from tests.providers.admin.rows import KEY, LIST, act, add, do

pytestmark = pytest.mark.django_db

BUTTONS = ("check_now", "refresh_models", "make_default", "enable", "disable")


def sent_by_list(client: Client, **priorities: int) -> dict[str, Any]:
    """The form of the list as a browser sends it, with these priorities by name."""
    formset = client.get(LIST).context["cl"].formset
    sent: dict[str, Any] = {"_save": "Save"}
    for field in formset.management_form:
        sent[field.html_name] = field.value()
    for form in formset.forms:
        name = form.instance.name
        sent[f"{form.prefix}-id"] = form.instance.pk
        sent[f"initial-{form.prefix}-priority"] = form.instance.priority
        sent[f"{form.prefix}-priority"] = priorities.get(name, form.instance.priority)
    return sent


def test_the_order_of_failover_is_set_in_the_list(admin_client):
    row = add(priority=7)

    answer = admin_client.post(LIST, sent_by_list(admin_client, vllm=3))

    row.refresh_from_db()
    assert (answer.status_code, row.priority) == (302, 3)


def test_saving_the_list_writes_only_what_changed(admin_client):
    add("first")
    add("second")
    sent = sent_by_list(admin_client, second=3)

    with CaptureQueriesContext(connection) as queries:
        admin_client.post(LIST, sent)

    (update,) = (q["sql"] for q in queries if 'UPDATE "providers_providerconfig"' in q["sql"])
    assert '"priority" = 3' in update
    assert not any(column in update for column in ('"health"', '"api_key"', '"enabled"', '"last_error"'))


def test_a_list_opened_before_another_change_does_not_undo_it(admin_client):
    first, second = add("first", priority=1), add("second", priority=2)
    sent = sent_by_list(admin_client, second=22)
    ProviderConfig.objects.filter(pk=first.pk).update(priority=11)

    admin_client.post(LIST, sent)

    assert dict(ProviderConfig.objects.filter(pk__in=[first.pk, second.pk]).values_list("name", "priority")) == {
        "first": 11,
        "second": 22,
    }


def test_a_provider_that_is_not_valid_is_put_in_order_too(admin_client):
    row = add()
    ProviderConfig.objects.filter(pk=row.pk).update(api_key=Secret("not a token"), settings={"warp": 9}, base_url="")

    admin_client.post(LIST, sent_by_list(admin_client, vllm=3))

    row.refresh_from_db()
    assert (row.priority, row.settings) == (3, {"warp": 9})


def test_a_wrong_priority_is_refused_at_its_row(admin_client):
    add()

    answer = admin_client.post(LIST, sent_by_list(admin_client, vllm=-1))

    assert answer.status_code == 200
    assert "greater than or equal to 0" in answer.content.decode()


def test_the_list_shows_how_each_provider_is(admin_client):
    row, now = add(), timezone.now()
    HealthCheck.objects.create(provider=row, at=now - timedelta(minutes=1), ok=True, latency_ms=120)
    row.record_probe(ProbeResult(ok=False, latency_ms=4, error="connection refused by 127.0.0.1:9"), now=now)
    row.record_models([ModelInfo(name="a"), ModelInfo(name="b")], now=now)

    page = admin_client.get(LIST).content.decode()

    assert "The last 2 checks: 120 ms to 120 ms, 1 failed" in page
    assert f'title="{exact_time(now)}"' in page
    assert "connection refused by 127.0.0.1:9" in page
    assert f'href="/admin/providers/providermodel/?provider__id__exact={row.pk}"' in page
    assert 'aria-label="vllm enabled"' in page


def test_only_the_latest_checks_are_read():
    row, now = add(), timezone.now()
    for minute in range(5):
        ok, at = minute != 1, now - timedelta(minutes=minute)
        HealthCheck.objects.create(provider=row, at=at, ok=ok, latency_ms=minute)

    found = ProviderConfig.objects.filter(pk=row.pk).latest_latencies(checks=3)

    assert found == {row.pk: [2, None, 0]}


def test_an_empty_list_is_a_page(admin_client):
    ProviderConfig.objects.all().delete()

    assert admin_client.get(LIST).status_code == 200


@pytest.mark.parametrize("query", ["provider_type__exact=custom", "health__exact=unknown", "enabled__exact=1"])
def test_the_list_is_narrowed(admin_client, query):
    add()
    other = {"provider_type": "openai", "api_key": KEY, "enabled": False}
    ProviderConfig.objects.filter(pk=add("other", **other).pk).update(health=Health.HEALTHY)

    found = {row.name for row in admin_client.get(f"{LIST}?{query}").context["cl"].result_list}

    assert "vllm" in found
    assert "other" not in found


def test_the_list_is_narrowed_to_the_default(admin_client):
    add()

    found = [row.name for row in admin_client.get(f"{LIST}?is_default__exact=1").context["cl"].result_list]

    assert found == ["ollama"]


def test_a_button_of_a_row_does_what_the_action_does(admin_client, upstream):
    row = add("up", upstream.url, enabled=False)

    for action in BUTTONS[:4]:
        assert do(admin_client, action, row).headers["location"] == LIST

    row.refresh_from_db()
    assert (row.health, row.is_default, row.enabled) == (Health.HEALTHY, True, True)
    assert row.models.count() == 2
    assert said(admin_client.get(LIST)) == [
        "1 healthy.",
        "1 refreshed, 2 models.",
        "up is now the default.",
        "up is disabled: chats skip it.",
        "1 enabled: up.",
    ]


@pytest.mark.parametrize("action", BUTTONS)
def test_nothing_is_done_by_a_link(admin_client, action):
    row = add()

    answer = admin_client.get(reverse("admin:providers_providerconfig_do", args=[row.pk, action]))

    assert answer.status_code == 405


def test_nothing_is_done_without_the_token_of_a_form(admin_user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    row = add()

    answer = do(client, "disable", row)

    row.refresh_from_db()
    assert (answer.status_code, row.enabled) == (403, True)


@pytest.mark.parametrize("action", ["get_urls", "delete_selected", "delete_model", "nothing"])
def test_only_actions_are_done(admin_client, action):
    assert do(admin_client, action, add()).status_code == 404


def test_a_button_leads_back_to_where_it_was(admin_client):
    row = add()

    assert do(admin_client, "enable", row, next=f"{LIST}?p=2").headers["location"] == f"{LIST}?p=2"
    assert do(admin_client, "enable", row, next="https://evil.example/").headers["location"] == LIST


def test_a_button_of_a_provider_that_is_gone_says_so(admin_client):
    row = add()
    pressed = reverse("admin:providers_providerconfig_do", args=[row.pk, "check_now"])
    row.delete()

    assert said(admin_client.post(pressed, follow=True)) == ["This provider no longer exists."]


def test_an_operator_switches_and_checks_but_neither_adds_nor_deletes(upstream):
    client, row = member_of("Operator"), add("up", upstream.url)

    page = client.get(LIST).content.decode()
    told = act(client, "check_now", row) + act(client, "disable", row) + act(client, "make_default", row)

    assert told[:2] == ["1 healthy.", "1 disabled: up."]
    assert "Check now: up" in page
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{row.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("group", ["Reviewer", ""])
def test_others_see_nothing_and_do_nothing(upstream, group):
    client, row = member_of(group), add("up", upstream.url)

    answers = [client.get(LIST), *(do(client, action, row) for action in BUTTONS)]

    assert {answer.status_code for answer in answers} == {403}
    assert upstream.requests == []
