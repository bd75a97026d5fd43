from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from llmhub.access.secrets import Secret
from providers.admin.setting_fields import PREFIX, setting_fields, visibility_conditions
from providers.backends import BACKENDS
from providers.models import HealthCheck, ProviderConfig, ProviderModel
from tests.fakes import FakeProvider
from tests.people import member_of
from tests.providers.admin.rows import DEAD_URL, KEY, LIST, add, fields_of, page_of, stored_key

pytestmark = pytest.mark.django_db

TRY_NEW = f"{LIST}add/try/"


def try_url(row: ProviderConfig) -> str:
    return reverse("admin:providers_providerconfig_try", args=[row.pk])


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_setting_of_every_type_has_a_field_with_help(kind):
    fields, conditions = setting_fields(), visibility_conditions()

    for name in BACKENDS[kind].settings_model.model_fields:
        label = fields[f"{PREFIX}{name}"].label
        assert name in label or name.replace("_", " ") == label.lower()
        assert fields[f"{PREFIX}{name}"].help_text
        assert f"'{kind}'" in conditions[f"{PREFIX}{name}"]


def test_settings_are_stored_as_the_type_takes_them(admin_client):
    row = add()
    sent = {"setting_num_ctx": "8192", "setting_keep_alive": "5m", "setting_think": "False", "setting_project": "other"}

    admin_client.post(page_of(row), fields_of(row, provider_type="ollama", **sent))

    row.refresh_from_db()
    assert row.settings == {"num_ctx": 8192, "keep_alive": "5m", "think": False}


def test_stored_settings_are_shown_and_kept(admin_client):
    stored = {"strict_models": True, "extra_headers": {"x-team": "search"}}
    row = add(settings=stored)
    form = admin_client.get(page_of(row)).context["adminform"].form

    shown = {name: form[name].value() or "" for name in setting_fields()}
    admin_client.post(page_of(row), fields_of(row, **shown))

    row.refresh_from_db()
    assert row.settings == stored


def test_what_is_left_empty_is_not_stored(admin_client):
    row = add(settings={"strict_models": True, "project": "p"})

    admin_client.post(page_of(row), fields_of(row, setting_extra_headers="{}"))

    row.refresh_from_db()
    assert row.settings == {}


@pytest.mark.parametrize("settings", [[1], "text", {"warp": 9}])
def test_settings_that_only_sql_could_write_do_not_keep_the_page_from_opening(admin_client, settings):
    row = add()
    ProviderConfig.objects.filter(pk=row.pk).update(settings=settings)

    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(page_of(row)).status_code == 200


def test_a_refused_form_shows_neither_the_typed_key_nor_the_stored_one(admin_client):
    row = add(api_key=KEY)

    answer = admin_client.post(page_of(row), fields_of(row, api_key="sk-typed-4711-typed-wxyz", base_url="nonsense"))

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "must start with http" in page
    assert "sk-typed" not in page
    assert "cannot be decrypted" not in page
    assert KEY not in page


def test_a_form_that_moves_a_stored_key_asks_for_it(admin_client):
    row = add(api_key=KEY)

    page = admin_client.post(page_of(row), fields_of(row, base_url="http://localhost:2/v1")).content.decode()

    assert "enter it again to use it at http://localhost:2." in page
    assert "leave empty to keep it" not in page


def test_a_connection_is_tried_before_a_provider_is_saved(admin_client):
    with FakeProvider("openai", api_key=KEY) as fake:
        sent = {"provider_type": "openai", "base_url": fake.url, "api_key": KEY, "timeout": 60, "priority": 1}
        answer = admin_client.post(TRY_NEW, sent | {"default_model": "fake-large"})

    page = answer.content.decode()
    assert "The connection works." in page
    assert '<option value="fake-large">' in page
    assert KEY not in page
    assert not ProviderConfig.objects.filter(provider_type="openai").exists()


def test_an_empty_key_stands_for_the_stored_one(admin_client):
    with FakeProvider("openai", api_key=KEY) as fake:
        row = add(base_url=fake.url, provider_type="openai", api_key=KEY, default_model="fake-large")
        page = admin_client.post(try_url(row), fields_of(row)).content.decode()

    assert "The key is accepted" in page
    assert KEY not in page


def test_a_typed_key_is_tried_and_the_stored_one_stays(admin_client):
    with FakeProvider("openai", api_key=KEY) as fake:
        row = add(base_url=fake.url, provider_type="openai", api_key=KEY)
        page = admin_client.post(try_url(row), fields_of(row, api_key="sk-typed-4711-typed-wxyz")).content.decode()

    row.refresh_from_db()
    assert "The key was rejected" in page
    assert "sk-typed" not in page
    assert stored_key(row) == KEY


def test_a_trial_stores_nothing(admin_client, upstream):
    row = add("up", upstream.url)
    before = ProviderConfig.objects.filter(pk=row.pk).values().get()

    admin_client.post(try_url(row), fields_of(row, priority=3, default_model="fake-large"))

    assert ProviderConfig.objects.filter(pk=row.pk).values().get() == before
    assert not HealthCheck.objects.exists()
    assert not ProviderModel.objects.exists()
    assert upstream.requests != []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"base_url": "nonsense"}, "must start with http", id="no-url"),
        pytest.param({"base_url": "http://10.1.2.3/"}, "private or reserved address", id="private-address"),
        pytest.param({"provider_type": "openai"}, "needs an API key", id="missing-key"),
        pytest.param({"timeout": "0"}, "greater than or equal to 1", id="timeout"),
        pytest.param({"setting_extra_headers": "{"}, "valid JSON", id="setting"),
        pytest.param({"provider_type": ""}, "required", id="no-type"),
    ],
)
def test_what_is_wrong_with_the_form_is_told_as_such(admin_client, changes, words):
    row = add()

    page = admin_client.post(try_url(row), fields_of(row, **changes)).content.decode()

    assert "Validate the form" in page
    assert words in page


def test_a_key_that_cannot_be_decrypted_is_told_by_a_trial(admin_client):
    row = add(base_url=DEAD_URL)
    ProviderConfig.objects.filter(pk=row.pk).update(api_key=Secret("not a token"))

    page = admin_client.post(try_url(row), fields_of(row)).content.decode()

    assert "cannot be decrypted" in page


def test_a_provider_that_is_gone_cannot_be_tried(admin_client):
    row = add()
    sent, url = fields_of(row), try_url(row)
    row.delete()

    assert "no longer exists" in admin_client.post(url, sent).content.decode()


def test_a_trial_needs_a_post_with_the_token_of_a_form(admin_client, admin_user, upstream):
    client, row = Client(enforce_csrf_checks=True), add("up", upstream.url)
    client.force_login(admin_user)

    assert admin_client.get(try_url(row)).status_code == 405
    assert client.post(try_url(row), fields_of(row)).status_code == 403
    assert upstream.requests == []


def test_an_operator_tries_what_exists_and_adds_nothing(upstream):
    client, row = member_of("Operator"), add("up", upstream.url, default_model="fake-large")

    tried = client.post(try_url(row), fields_of(row))

    assert "The connection works." in tried.content.decode()
    assert client.post(TRY_NEW, fields_of(row)).status_code == 403


def test_an_operator_sends_a_stored_key_nowhere_else():
    with FakeProvider("openai", api_key=KEY) as fake, FakeProvider("openai") as elsewhere:
        client, row = member_of("Operator"), add(base_url=fake.url, provider_type="openai", api_key=KEY)
        sent = fields_of(row, base_url=elsewhere.url, api_key="sk-other", organization="theirs", priority=7)

        tried = client.post(try_url(row), sent).content.decode()
        client.post(page_of(row), sent)

        row.refresh_from_db()
        assert "The key is accepted" in tried
        assert (row.base_url, stored_key(row), row.settings, row.priority) == (
            fake.url,
            KEY,
            {},
            7,
        )
        assert elsewhere.requests == []


@pytest.mark.parametrize("group", ["Reviewer", ""])
def test_others_try_nothing(upstream, group):
    client, row = member_of(group), add("up", upstream.url)

    assert client.post(try_url(row), fields_of(row)).status_code == 403
    assert client.get(page_of(row)).status_code == 403
    assert upstream.requests == []


def test_the_page_of_an_unknown_provider_leads_back(admin_client):
    assert admin_client.get(f"{LIST}4711/change/").status_code == 302
    assert admin_client.get(f"{LIST}nonsense/change/").status_code == 302
