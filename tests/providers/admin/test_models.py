from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from providers.models import ProviderConfig, ProviderModel
from providers.types import ModelInfo
from tests.admin_pages import said
from tests.people import member_of
from tests.providers.admin.rows import KEY, MODELS, add

pytestmark = pytest.mark.django_db

PRICED = "gpt-4o-mini"


def add_openai(name: str = "openai") -> ProviderConfig:
    return add(name, provider_type="openai", api_key=KEY)


def page_of(model: ProviderModel) -> str:
    return reverse("admin:providers_providermodel_change", args=[model.pk])


def test_prices_of_a_model_are_edited(admin_client):
    add().record_models([ModelInfo(name="qwen")], now=timezone.now())
    model = ProviderModel.objects.get()
    path = reverse("admin:providers_providermodel_change", args=[model.pk])

    answer = admin_client.post(path, {"allowed": "on", "capabilities": "chat,vision", "input_usd_per_mtok": "1.25"})

    model.refresh_from_db()
    assert answer.status_code == 302
    assert (str(model.input_usd_per_mtok), model.capabilities) == ("1.250000", ["chat", "vision"])


def test_a_model_is_added_by_hand(admin_client):
    sent = {"provider": add().pk, "name": "qwen", "allowed": "on", "capabilities": "chat"}

    answer = admin_client.post(reverse("admin:providers_providermodel_add"), sent)

    assert answer.status_code == 302
    assert ProviderModel.objects.get().first_seen_at is not None


def test_a_model_is_switched_off_and_allowed_again_with_who_did_it_kept(admin_client):
    add().record_models([ModelInfo(name="qwen"), ModelInfo(name="llama")], now=timezone.now())
    model = ProviderModel.objects.get(name="qwen")

    told = said(do_to(admin_client, model, "switch_off"))
    again = said(do_to(admin_client, model, "switch_off"))
    listed = admin_client.get(MODELS, {"allowed__exact": "0"}).content.decode()

    model.refresh_from_db()
    assert (model.allowed, model.listed) == (False, True)
    assert told == ["qwen disabled: chats with it are refused within a second."]
    assert again == ["1 already disabled."]
    assert "qwen" in listed
    assert "llama" not in listed
    assert model.events.latest("pgh_id").allowed is False

    assert said(do_to(admin_client, model, "allow")) == ["qwen enabled."]
    assert ProviderModel.objects.filter(allowed=True).count() == 2


def test_who_only_looks_at_models_switches_none_off():
    add().record_models([ModelInfo(name="qwen")], now=timezone.now())
    client, model = member_of(permissions=("view_providermodel",)), ProviderModel.objects.get()

    assert do_to(client, model, "switch_off").status_code == 403
    assert "/do/switch_off/" not in client.get(MODELS).content.decode()
    assert ProviderModel.objects.get().allowed


def do_to(client: Client, model: ProviderModel, action: str) -> Any:
    return client.post(reverse("admin:providers_providermodel_do", args=[model.pk, action]), follow=True)


def test_a_price_entered_by_hand_is_marked_and_outlives_a_refresh(admin_client):
    row = add_openai()
    row.record_models([ModelInfo(name=PRICED)], now=timezone.now())
    model = ProviderModel.objects.get()
    listed_before = admin_client.get(MODELS).content.decode()

    admin_client.post(page_of(model), {"allowed": "on", "input_usd_per_mtok": "99.5", "output_usd_per_mtok": "100"})
    row.record_models([ModelInfo(name=PRICED)], now=timezone.now())

    listed, page = admin_client.get(MODELS).content.decode(), admin_client.get(page_of(model)).content.decode()
    model.refresh_from_db()
    assert (model.input_usd_per_mtok, model.output_usd_per_mtok) == (Decimal("99.5"), Decimal(100))
    assert "$99.50 / $100.00" in listed
    assert "differs:" in listed
    assert "differs:" in page
    assert "same" in listed_before
    assert "differs:" not in listed_before


def test_a_model_without_a_price_says_so(admin_client):
    add().record_models([ModelInfo(name="qwen")], now=timezone.now())

    listed = admin_client.get(MODELS).content.decode()

    assert "–" in listed
    assert " / $" not in listed


def test_a_model_that_vanished_is_marked_with_when(admin_client):
    row, now = add(), timezone.now()
    row.record_models([ModelInfo(name="old"), ModelInfo(name="new")], now=now - timedelta(days=40))
    row.record_models([ModelInfo(name="new")], now=now)

    page = admin_client.get(MODELS).content.decode()

    assert page.count("since ") == 1
    assert f"since {now - timedelta(days=40):%d %b %Y}" in page


def test_saving_a_model_does_not_undo_what_a_refresh_found(admin_client):
    row = add()
    row.record_models([ModelInfo(name="qwen")], now=timezone.now())
    model = ProviderModel.objects.get()

    with CaptureQueriesContext(connection) as queries:
        admin_client.post(page_of(model), {"allowed": "on", "input_usd_per_mtok": "1"})

    (update,) = (q["sql"] for q in queries if 'UPDATE "providers_providermodel"' in q["sql"])
    assert '"input_usd_per_mtok"' in update
    assert not any(column in update for column in ('"listed"', '"last_seen_at"'))


def test_the_list_is_narrowed_to_a_provider(admin_client):
    for name in ("first", "second"):
        add(name).record_models([ModelInfo(name=f"of-{name}")], now=timezone.now())
    chosen = ProviderConfig.objects.get(name="second")

    page = admin_client.get(MODELS, {"provider__id__exact": chosen.pk}).content.decode()

    assert "of-second" in page
    assert "of-first" not in page


def test_a_provider_that_does_not_exist_has_no_models(admin_client):
    answer = admin_client.get(MODELS, {"provider__id__exact": 4711})

    assert answer.status_code == 200
    assert list(answer.context["cl"].result_list) == []


@pytest.mark.parametrize(("group", "listed", "added"), [("Operator", 200, 403), ("Reviewer", 403, 403), ("", 403, 403)])
def test_who_may_see_models(group, listed, added):
    client = member_of(group)

    assert client.get(MODELS).status_code == listed
    assert client.get(f"{MODELS}add/").status_code == added
