from __future__ import annotations

import html

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from llmhub.access.secrets import Secret
from providers.models import Health, ProviderConfig, ProviderModel
from providers.types import ModelInfo, ProbeResult
from tests import fakes
from tests.people import member_of
from tests.providers.admin.rows import DEAD_URL, KEY, LIST, act, add, fields_of, page_of, stored_key

pytestmark = pytest.mark.django_db


def test_a_provider_is_added(admin_client):
    row = ProviderConfig(name="vllm", provider_type="custom", base_url=DEAD_URL)

    answer = admin_client.post(f"{LIST}add/", fields_of(row, name="vllm", api_key=KEY))

    added = ProviderConfig.objects.get(name="vllm")
    assert answer.status_code == 302
    assert (added.api_key.reveal(place=added.key_place), added.settings, added.is_default) == (KEY, {}, False)


def test_the_first_provider_added_is_the_default(admin_client):
    ProviderConfig.objects.all().delete()
    row = ProviderConfig(name="vllm", provider_type="custom", base_url=DEAD_URL)

    admin_client.post(f"{LIST}add/", fields_of(row, name="vllm"))

    assert ProviderConfig.objects.get().is_default


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        pytest.param({"provider_type": "openai"}, "api_key", "needs an API key", id="missing-key"),
        pytest.param({"base_url": "http://10.1.2.3/"}, "base_url", "private", id="private-address"),
        pytest.param({"setting_extra_headers": "{"}, "setting_extra_headers", "valid JSON", id="broken-json"),
        pytest.param({"setting_extra_headers": "[1]"}, "setting_extra_headers", "valid dictionary", id="list"),
        pytest.param({"setting_extra_headers": '{"host": "x"}'}, "setting_extra_headers", "itself", id="own-header"),
        pytest.param({"api_key": "two\nlines"}, "api_key", "line break", id="line-break-in-key"),
    ],
)
def test_a_fault_is_shown_at_its_field(admin_client, changes, field, words):
    row = add()

    answer = admin_client.post(page_of(row), fields_of(row, **changes))

    assert answer.status_code == 200
    assert words in str(answer.context["adminform"].form.errors[field])


def test_a_stored_key_is_never_shown(admin_client):
    row = add(api_key=KEY)

    pages = [admin_client.get(path).content.decode() for path in (LIST, page_of(row), f"{page_of(row)}history/")]

    assert "…abcd: leave empty to keep it" in pages[1]
    assert f"<code>…abcd</code> for {DEAD_URL.removesuffix('/v1')}" in pages[1]
    for page in pages:
        assert KEY not in page
        assert row.api_key.token not in page
        assert ProviderConfig.objects.get(pk=row.pk).api_key.token not in page


def test_an_empty_key_keeps_the_stored_one(admin_client):
    row = add(api_key=KEY)

    admin_client.post(page_of(row), fields_of(row, priority=5))

    row.refresh_from_db()
    assert (row.priority, stored_key(row)) == (5, KEY)


def test_a_key_is_replaced_and_forgotten(admin_client):
    row = add(api_key=KEY)

    admin_client.post(page_of(row), fields_of(row, api_key="another-key-4711"))
    replaced = stored_key(row)
    admin_client.post(page_of(row), fields_of(row, forget_api_key="on"))

    assert replaced == "another-key-4711"
    assert not ProviderConfig.objects.get(pk=row.pk).api_key


def test_saving_does_not_undo_what_a_probe_found(admin_client):
    row = add()

    with CaptureQueriesContext(connection) as queries:
        admin_client.post(page_of(row), fields_of(row, priority=5))

    (update,) = (q["sql"] for q in queries if 'UPDATE "providers_providerconfig"' in q["sql"])
    assert '"priority" = 5' in update
    assert not any(column in update for column in ('"health"', '"api_key"', '"enabled"'))


def test_a_name_stays_as_it_is(admin_client):
    row = add()

    admin_client.post(page_of(row), fields_of(row, name="another"))

    assert ProviderConfig.objects.get(pk=row.pk).name == "vllm"


def test_a_key_that_cannot_be_decrypted_is_flagged_and_can_be_replaced(admin_client):
    row = add()
    ProviderConfig.objects.filter(pk=row.pk).update(api_key=Secret("not a token"))

    listed, shown = admin_client.get(LIST), admin_client.get(page_of(row))
    admin_client.post(page_of(row), fields_of(row, api_key=KEY))

    assert "cannot be decrypted" in listed.content.decode()
    assert "cannot be decrypted" in shown.content.decode()
    assert stored_key(row) == KEY


def test_a_check_tells_counts_and_failures(admin_client, upstream):
    up, down = add("up", upstream.url), add("down")

    said = act(admin_client, "check_now", up, down)

    assert said[0] == "1 healthy."
    assert said[1].startswith("down failed: ")
    assert ProviderConfig.objects.get(name="up").health == Health.HEALTHY


def test_a_refresh_tells_counts_and_failures(admin_client, upstream):
    up, down = add("up", upstream.url), add("down")

    said = act(admin_client, "refresh_models", up, down)

    assert said[0] == "1 refreshed, 2 models."
    assert said[1].startswith("down failed: ")
    assert ProviderModel.objects.filter(provider=up).count() == 2


def test_what_a_provider_says_is_escaped(admin_client, upstream):
    upstream.probe_faults.append(fakes.status(500, "<script>alert(1)</script>"))
    row = add("up", upstream.url)

    act(admin_client, "check_now", row)
    shown = admin_client.get(page_of(row)).content.decode()

    assert "<script>alert(1)" not in shown
    assert html.escape("<script>alert(1)") in shown


def test_the_default_is_chosen_one_at_a_time(admin_client):
    first, second = add("first"), add("second")

    refused = act(admin_client, "make_default", first, second)
    done = act(admin_client, "make_default", second)

    assert refused == ["Select exactly one provider: there is only one default."]
    assert done == ["second is now the default."]
    assert ProviderConfig.objects.get(is_default=True) == second


def test_providers_are_switched_off_and_on(admin_client):
    first, second = add("first"), add("second", enabled=False)

    off = act(admin_client, "disable", first, second)
    on = act(admin_client, "enable", first, second)

    assert off == ["1 disabled: first.", "1 already disabled: second."]
    assert on == ["2 enabled: first, second."]


def test_a_deleted_default_hands_over(admin_client):
    add("next")
    row = ProviderConfig.objects.get(is_default=True)

    admin_client.post(reverse("admin:providers_providerconfig_delete", args=[row.pk]), {"post": "yes"})

    assert ProviderConfig.objects.get().is_default


def test_providers_that_were_checked_are_deleted_too(admin_client):
    rows = [add("first"), add("second"), add("third")]
    for row in rows:
        row.record_probe(ProbeResult(ok=True, latency_ms=1), now=timezone.now())
        row.record_models([ModelInfo(name="qwen")], now=timezone.now())
    listed = {"action": "delete_selected", "_selected_action": [row.pk for row in rows[1:]], "post": "yes"}

    one = admin_client.post(reverse("admin:providers_providerconfig_delete", args=[rows[0].pk]), {"post": "yes"})
    more = admin_client.post(LIST, listed)

    assert (one.status_code, more.status_code) == (302, 302)
    assert not ProviderConfig.objects.filter(pk__in=[row.pk for row in rows]).exists()


def test_who_may_only_view_providers_changes_nothing(upstream):
    row = add("up", upstream.url, api_key=KEY)
    client = member_of(permissions=("view_providerconfig",))

    shown = client.get(page_of(row))
    changed = client.post(page_of(row), fields_of(row, priority=5))
    acted = client.post(LIST, {"action": "check_now", "_selected_action": [row.pk]})

    assert (shown.status_code, changed.status_code, acted.status_code) == (200, 403, 200)
    assert KEY not in shown.content.decode()
    assert upstream.requests == []
