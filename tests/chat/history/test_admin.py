from __future__ import annotations

import html
import json
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from chat.history.models import Chat
from chat.ledger.append import append_events
from chat.ledger.content import make_answer, make_content
from chat.ledger.events import Caller
from chat.ledger.models import ChatStatus, EventKind, LedgerEvent
from providers.types import Attempt
from tests.chat.ledger.samples import make_intent, make_outcome, make_void, new_chat_id
from tests.people import make_staff, member_of, signed_in

pytestmark = pytest.mark.django_db

LIST = "/admin/chat/chat/"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(autouse=True)
def begin_empty(empty_ledger: None) -> None:
    pass


def page_of(chat_id: UUID) -> str:
    return reverse("admin:chat_chat_change", args=[chat_id])


def record_chat(*, asked: str = "hello", answer: str = "hi", **outcome: Any) -> UUID:
    chat_id = new_chat_id()
    request = make_content(json.dumps({"messages": [{"role": "user", "content": asked}]}).encode())
    said = json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]}).encode()
    attempts = outcome.get("attempts", ())
    content = make_answer(said, attempts)
    append_events([make_intent(chat_id, content=request), make_outcome(chat_id, content=content, **outcome)])
    return chat_id


def looks(kind: EventKind) -> list[dict[str, Any]]:
    return [event.event for event in LedgerEvent.objects.filter(kind=kind).order_by("id")]


def test_a_chat_is_shown_with_all_that_is_recorded(admin_client):
    failed = Attempt(
        provider="ollama", model_name="llama3.2", ok=False, latency_ms=3, error_type="UnreachableError", error="refused"
    )
    served = Attempt(provider="acme", model_name="small", ok=True, latency_ms=12, upstream_status=200)
    chat_id = record_chat(asked="what is the weather", answer="it rains", attempts=(failed, served))

    page = admin_client.get(page_of(chat_id)).content.decode()

    for shown in ("what is the weather", "it rains", "acme/small", "UnreachableError", "refused", "$0.000001", "ann"):
        assert shown in page


def test_a_look_at_a_chat_is_recorded_first(admin_client):
    chat_id = record_chat()

    admin_client.get(page_of(chat_id))

    (event,) = looks(EventKind.READ)
    assert (event["chat"], event["actor"], event["source"], event["address"]) == (
        str(chat_id),
        "admin",
        "admin",
        "127.0.0.1",
    )


def test_a_look_through_a_proxy_is_recorded_with_the_address_it_came_from(admin_client, settings):
    settings.TRUSTED_PROXIES = 1

    admin_client.get(LIST, headers={"x-forwarded-for": "198.51.100.7"})

    (event,) = looks(EventKind.SEARCH)
    assert event["address"] == "198.51.100.7"


def test_a_look_at_the_list_is_recorded_with_its_filters(admin_client):
    admin_client.get(f"{LIST}?status=failed&q=ann&p=")

    (event,) = looks(EventKind.SEARCH)
    assert event["filters"] == {"list": "chat", "status": "failed", "q": "ann"}


@pytest.mark.parametrize("path", [LIST, "/admin/ledger/ledgerevent/", None])
def test_what_cannot_be_recorded_is_not_shown(admin_client, path):
    chat_id = record_chat(asked="canary prompt")
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION ledger_append RENAME TO ledger_append_away")

    answer = admin_client.get(path or page_of(chat_id))

    assert answer.status_code == 503
    assert "canary prompt" not in answer.content.decode()
    assert str(chat_id) not in answer.content.decode()


def test_markup_in_a_chat_is_inert(admin_client):
    failed = Attempt(provider="acme", model_name=MARKUP, ok=False, latency_ms=3, error_type="X", error=MARKUP)
    caller = Caller(application="demo", api_key="lh_demo", end_user=MARKUP, conversation=MARKUP)
    chat_id = new_chat_id()
    request = make_content(json.dumps({"messages": [{"role": MARKUP, "content": MARKUP}]}).encode())
    answer = make_answer(json.dumps({"choices": [{"message": {"role": "a", "content": MARKUP}}]}).encode(), [failed])
    append_events(
        [
            make_intent(chat_id, caller=caller, content=request),
            make_outcome(chat_id, content=answer, attempts=(failed,), model_name=MARKUP),
        ]
    )
    (event, _) = LedgerEvent.objects.filter(chat_id=chat_id)
    event_page = reverse("admin:ledger_ledgerevent_change", args=[event.pk])

    for path in (page_of(chat_id), LIST, event_page, f"{LIST}?q={MARKUP}"):
        page = admin_client.get(path).content.decode()
        assert "<script>alert(1)" not in page
        assert "<img src=x" not in page
    assert html.escape(MARKUP) in admin_client.get(page_of(chat_id)).content.decode()


def test_nobody_adds_changes_or_deletes_a_chat_or_an_event(admin_client):
    chat_id = record_chat()
    event = LedgerEvent.objects.filter(chat_id=chat_id)[0]

    for model, pk in (("chat_chat", chat_id), ("ledger_ledgerevent", event.pk)):
        change, delete = (reverse(f"admin:{model}_{verb}", args=[pk]) for verb in ("change", "delete"))
        action = {"action": "delete_selected", "_selected_action": [str(pk)], "post": "yes"}
        assert admin_client.get(reverse(f"admin:{model}_add")).status_code == 403
        assert admin_client.post(change, {"status": "failed"}).status_code == 403
        assert admin_client.post(delete, {"post": "yes"}).status_code == 403
        admin_client.post(reverse(f"admin:{model}_changelist"), action)

    assert Chat.objects.get().status == ChatStatus.SUCCEEDED
    assert LedgerEvent.objects.filter(chat_id=chat_id, kind=EventKind.INTENT).exists()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("q=ann", 1, id="end-user"),
        pytest.param("q=c-1", 1, id="conversation"),
        pytest.param("q=an", 0, id="part-of-a-name"),
        pytest.param("application=demo", 1, id="application"),
        pytest.param("application=other", 0, id="another-application"),
        pytest.param("provider=acme", 1, id="provider"),
        pytest.param("model_name=small", 1, id="model"),
        pytest.param("model_name=large", 0, id="another-model"),
        pytest.param("status=succeeded", 1, id="status"),
        pytest.param("status=failed", 0, id="another-status"),
        pytest.param("within=hour", 1, id="period"),
        pytest.param("p=2", 0, id="page-past-the-end"),
    ],
)
def test_chats_are_found(admin_client, query, found):
    record_chat()

    answer = admin_client.get(f"{LIST}?{query}")

    assert answer.status_code == 200
    assert len(answer.context["cl"].result_list) == found


def test_a_chat_is_found_by_its_id_in_either_form(admin_client):
    chat_id = record_chat()
    record_chat()

    for term in (str(chat_id), f"chatcmpl-{chat_id.hex}"):
        assert [chat.pk for chat in admin_client.get(f"{LIST}?q={term}").context["cl"].result_list] == [chat_id]


def test_a_list_of_many_counts_none(admin_client):
    for _ in range(10):
        record_chat()

    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)

    assert not any("COUNT(*)" in query["sql"] and "chat_chat" in query["sql"] for query in queries)


def test_a_prompt_never_stands_in_a_list(admin_client):
    record_chat(asked="canary prompt", answer="canary answer")

    for path in (LIST, "/admin/ledger/ledgerevent/", "/admin/"):
        assert "canary" not in admin_client.get(path).content.decode()


def test_a_rejected_and_an_open_chat_are_shown(admin_client):
    rejected, still_open = new_chat_id(), new_chat_id()
    append_events([make_void(rejected), make_intent(still_open)])

    pages = [admin_client.get(page_of(chat_id)) for chat_id in (rejected, still_open)]

    assert [page.status_code for page in pages] == [200, 200]
    assert "No provider was called" in pages[0].content.decode()
    assert "model_not_found" in pages[0].content.decode()


@pytest.mark.parametrize("object_id", ["nonsense", str(UUID(int=7))])
def test_a_chat_that_is_none_is_not_found_and_not_recorded(admin_client, object_id):
    answer = admin_client.get(f"{LIST}{object_id}/change/")

    assert answer.status_code == 302
    assert looks(EventKind.READ) == []


def test_who_may_not_view_chats_sees_none_and_leaves_no_trace():
    chat_id, client = record_chat(), member_of()

    answers = [client.get(path).status_code for path in (LIST, page_of(chat_id))]

    assert answers == [403, 403]
    assert looks(EventKind.READ) + looks(EventKind.SEARCH) == []


def test_who_may_view_chats_sees_them():
    chat_id, client = record_chat(), signed_in(make_staff("ann", permissions=("view_chat",)))

    assert client.get(page_of(chat_id)).status_code == 200
    assert looks(EventKind.READ)[0]["actor"] == "ann"
