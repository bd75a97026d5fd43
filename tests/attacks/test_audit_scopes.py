"""Keys that read the history of chats: their application's own, or everybody's."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from chat.ledger.append import append_events
from chat.ledger.content import make_content
from chat.ledger.events import Caller
from chat.ledger.models import LedgerEvent
from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id
from tests.people import make_staff, signed_in

pytestmark = pytest.mark.django_db

CHATS = "/api/audit/chats"
CANARY = "canary of another application"
REQUEST = f'{{"model":"m","messages":[{{"role":"user","content":"{CANARY}"}}]}}'.encode()


def client_of(application: str, *scopes: Scope) -> APIClient:
    row, _ = Application.objects.get_or_create(name=application)
    _, secret = ApiKey.objects.issue(row, name="key", scopes=list(scopes))
    return APIClient(HTTP_AUTHORIZATION=f"Bearer {secret}")


def chat_of(application: str | None, **caller: Any) -> UUID:
    chat_id = new_chat_id()
    opening = {"caller": Caller(application=application, **caller), "content": make_content(REQUEST)}
    append_events([make_intent(chat_id, **opening), make_outcome(chat_id)])
    return chat_id


def found(client: APIClient, **filters: str) -> set[str]:
    return {row["id"] for row in client.get(CHATS, filters).json()["results"]}


def last(kind: str) -> dict[str, Any]:
    return LedgerEvent.objects.filter(kind=kind).latest("id").event


@pytest.fixture
def auditor() -> APIClient:
    return client_of("a-audit", Scope.AUDIT_READ)


@pytest.fixture
def foreign() -> UUID:
    return chat_of("demo", api_key="lh_demo", end_user="ann", conversation="c-1")


def test_a_list_holds_the_applications_own_chats_alone(auditor, foreign):
    own = chat_of("a-audit")
    chat_of(None, actor="admin")

    assert found(auditor) == {str(own)}


@pytest.mark.parametrize(
    "filters",
    [
        {"app": "demo"},
        {"key": "lh_demo"},
        {"user": "ann"},
        {"conversation": "c-1"},
        {"provider": "acme"},
        {"model": "small"},
        {"status": "succeeded"},
        {"min_cost": "0"},
        {"since": "2020-01-01T00:00:00Z"},
    ],
    ids=lambda filters: next(iter(filters)),
)
def test_no_filter_finds_the_chats_of_another_and_each_search_is_recorded(auditor, foreign, filters):
    assert found(auditor, **filters) == set()
    assert (last("search")["app"], last("search")["filters"]) == ("a-audit", filters)


def test_no_page_before_or_after_holds_them_either(auditor, foreign):
    mine = [str(chat_of("a-audit")) for _ in range(3)]
    chat_of("demo")

    pages, url = [], f"{CHATS}?limit=1"
    while url:
        page = auditor.get(url).json()
        pages += [row["id"] for row in page["results"]]
        url = page["next"]

    assert pages == sorted(mine, reverse=True)


def test_a_chat_of_another_is_told_apart_from_none_by_nothing(auditor, foreign):
    answers = [auditor.get(f"{CHATS}/{chat_id}") for chat_id in (foreign, uuid4())]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()
    assert CANARY not in answers[0].content.decode()


def test_who_asks_for_it_is_recorded_with_the_chat(auditor, foreign):
    auditor.get(f"{CHATS}/{foreign}")

    read = last("read")
    assert (read["chat"], read["app"], read["refused"]) == (str(foreign), "a-audit", True)
    assert read["actor"].startswith("a-audit (lh_")


def test_the_own_chat_is_read_and_the_reading_is_no_refusal(auditor):
    own = chat_of("a-audit")

    assert CANARY in auditor.get(f"{CHATS}/{own}").content.decode()
    assert last("read")["refused"] is False


@pytest.mark.parametrize("scopes", [(Scope.AUDIT_READ_ALL,), (Scope.AUDIT_READ, Scope.AUDIT_READ_ALL)])
def test_the_wider_scope_reads_everybodys_with_the_narrow_one_or_without(foreign, scopes):
    client = client_of("a-audit", *scopes)

    assert found(client) == {str(foreign)}
    assert CANARY in client.get(f"{CHATS}/{foreign}").content.decode()


@pytest.mark.parametrize("name", ["Demo", "demo ", "DEMO", "dem", "demo%", "d\u00e9mo"])
def test_names_that_look_alike_are_others(foreign, name):
    client = client_of(name, Scope.AUDIT_READ)

    assert found(client) == set()
    assert client.get(f"{CHATS}/{foreign}").status_code == 404


def test_a_key_without_either_scope_reads_nothing(foreign):
    client = client_of("demo", Scope.CHAT, Scope.PROVIDERS_READ, Scope.PROVIDERS_WRITE)

    assert client.get(CHATS).status_code == 403
    assert client.get(f"{CHATS}/{foreign}").status_code == 403


def test_a_user_who_may_view_chats_reads_everybodys(foreign):
    client = signed_in(make_staff("rita", permissions=("view_chat",)))

    assert {row["id"] for row in client.get(CHATS).json()["results"]} == {str(foreign)}
    assert client.get(f"{CHATS}/{foreign}").status_code == 200
