from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from chat.history.admin.chat_page import MAX_EVENTS, MAX_RAW_CHARS
from chat.history.admin.messages import MAX_MESSAGES, MAX_SHOWN_CHARS
from chat.history.models import Chat
from chat.history.templatetags.chat_text import error_phrase
from chat.ledger.append import append_events
from chat.ledger.content import make_answer, make_content
from chat.ledger.events import Caller, Outcome, Read
from chat.ledger.models import ChatStatus, EventKind, LedgerEvent
from llmhub.adminkit.large_tables import MAX_PAGES
from llmhub.runtime.uuid7 import uuid7_at
from providers.types import Attempt
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id
from tests.people import member_of

pytestmark = pytest.mark.django_db

LIST = "/admin/chat/chat/"
HOSTILE = "<script>alert(1)</script>\x1b[31mred\u202egnp.exe\u200b\U000e0041\x9b"
STEERING = "\x1b\u202e\u200b\U000e0041\x9b"


@pytest.fixture(autouse=True)
def begin_empty(empty_ledger: None) -> None:
    pass


def page_of(chat_id, came_from=""):
    return reverse("admin:chat_chat_change", args=[chat_id]) + (
        f"?_changelist_filters={quote(came_from)}" if came_from else ""
    )


def raw_of(chat_id, part):
    return reverse("admin:chat_chat_raw", args=[chat_id, part])


def record(*messages, chat_id=None, answer=None, **caller):
    chat_id = chat_id or new_chat_id()
    request = make_content(json.dumps({"messages": messages}, ensure_ascii=False).encode())
    said = json.dumps({"choices": [{"message": {"role": "assistant", "content": answer or "hi"}}]}).encode()
    who = Caller(**{"application": "demo", **caller})
    append_events([make_intent(chat_id, content=request, caller=who), make_outcome(chat_id, content=make_answer(said))])
    return chat_id


def user(text):
    return {"role": "user", "content": text}


def shown(client, url):
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.context["page"]


def chats_in_order(count, **caller):
    return [record(user("hello"), chat_id=uuid7_at(1_000_000 + n), **caller) for n in range(count)]


def test_chats_lead_to_the_newer_and_the_older(admin_client):
    oldest, middle, newest = chats_in_order(3)

    ways = [shown(admin_client, page_of(chat)).neighbours for chat in (oldest, middle, newest)]

    assert [(way.newer, way.older) for way in ways] == [
        (page_of(middle), None),
        (page_of(newest), page_of(oldest)),
        (None, page_of(middle)),
    ]


def test_neighbours_are_those_of_the_list_that_was_left(admin_client):
    first = record(user("hello"), chat_id=uuid7_at(1_000), application="mine")
    record(user("hello"), chat_id=uuid7_at(2_000), application="other")
    last = record(user("hello"), chat_id=uuid7_at(3_000), application="mine")

    page = shown(admin_client, page_of(last, "application=mine"))

    assert page.neighbours.older == page_of(first, "application=mine")
    assert page.list_url == f"{LIST}?application=mine"
    assert shown(admin_client, page_of(last)).list_url == LIST


def test_neighbours_are_those_of_the_search_that_was_left(admin_client):
    first = record(user("hello"), chat_id=uuid7_at(1_000), end_user="bob")
    record(user("hello"), chat_id=uuid7_at(2_000), end_user="eve")
    last = record(user("hello"), chat_id=uuid7_at(3_000), end_user="bob")

    assert shown(admin_client, page_of(last, "q=bob")).neighbours.older == page_of(first, "q=bob")


def test_a_list_leads_to_pages_that_know_it(admin_client):
    chat = record(user("hello"), application="mine")

    page = admin_client.get(f"{LIST}?application=mine&p=1").content.decode()

    assert f'href="{chat}/change/?_changelist_filters=application%3Dmine"' in page


def test_chats_of_a_conversation_lead_to_each_other(admin_client):
    first = record(user("a"), chat_id=uuid7_at(1_000), conversation="c-1")
    record(user("b"), chat_id=uuid7_at(2_000), conversation="c-1", application="other")
    second = record(user("c"), chat_id=uuid7_at(3_000), conversation="c-1")

    page = shown(admin_client, page_of(second))

    assert page.neighbours.earlier_in_conversation == page_of(first)
    assert page.neighbours.later_in_conversation is None
    assert shown(admin_client, page.neighbours.earlier_in_conversation).neighbours.later_in_conversation == page_of(
        second
    )
    assert len(admin_client.get(page.conversation_url).context["cl"].result_list) == 2


def test_a_chat_outside_any_conversation_leads_to_none(admin_client):
    _, second = chats_in_order(2, conversation=None)

    neighbours = shown(admin_client, page_of(second)).neighbours

    assert (neighbours.earlier_in_conversation, neighbours.later_in_conversation) == (None, None)


def test_a_permalink_leads_to_the_chat_from_anywhere(admin_client):
    chat = record(user("what is this"))

    page = shown(admin_client, page_of(chat, "application=demo"))

    assert page.permalink == f"http://testserver/admin/chat/chat/{chat}/change/"
    assert "what is this" in admin_client.get(page.permalink).content.decode()


def test_nothing_that_others_wrote_steers_the_screen(admin_client):
    chat = new_chat_id()
    failed = Attempt(provider="acme", model_name=HOSTILE, ok=False, latency_ms=3, error_type="X", error=HOSTILE)
    call = {"id": HOSTILE, "type": "function", "function": {"name": HOSTILE, "arguments": HOSTILE}}
    messages = [
        {"role": HOSTILE, "content": HOSTILE},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": HOSTILE}}, {"type": HOSTILE}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": HOSTILE},
    ]
    request = make_content(json.dumps({"messages": messages}, ensure_ascii=False).encode())
    caller = Caller(application=HOSTILE, end_user=HOSTILE, conversation=HOSTILE, address=HOSTILE)
    outcome = make_outcome(
        chat, attempts=(failed,), content=make_answer(b"null", [failed]), model_name=HOSTILE, error_type=HOSTILE
    )
    append_events([make_intent(chat, caller=caller, content=request), outcome])
    event = LedgerEvent.objects.get(chat_id=chat, kind=EventKind.INTENT)

    for path in (page_of(chat), LIST, reverse("admin:ledger_ledgerevent_change", args=[event.pk])):
        page = admin_client.get(path).content.decode()
        assert "<script>alert(1)" not in page
        assert [page[max(0, page.index(c) - 120) : page.index(c)] for c in STEERING if c in page] == []
        assert "&lt;script&gt;alert(1)" in page
        assert "[U+202E]" in page


@pytest.mark.parametrize(
    ("error_type", "words"),
    [
        ("RequestRejectedError", "request rejected"),
        ("UnreachableError", "unreachable"),
        ("OverloadedTLSError", "overloaded tls"),
        ("timeout", "timeout"),
        ("Error", "Error"),
    ],
)
def test_how_an_attempt_failed_is_said_in_words(error_type, words):
    assert error_phrase(error_type) == words


@pytest.mark.parametrize(
    ("status", "error_code", "words", "attempts"),
    [
        pytest.param(ChatStatus.LOST, "", "ended or fell silent before it recorded", "None recorded", id="lost"),
        pytest.param(
            ChatStatus.REJECTED, "record_unavailable", "no provider was called", "No provider", id="no-intent"
        ),
        pytest.param(ChatStatus.FAILED, "record_unavailable", "in place of the answer", "No provider", id="no-outcome"),
        pytest.param(ChatStatus.TRUNCATED, "hub_stopping", "The hub was stopped", "No provider", id="hub-stopped"),
        pytest.param(ChatStatus.TRUNCATED, "internal_error", "The hub failed", "No provider", id="hub-failed"),
        pytest.param(ChatStatus.TRUNCATED, "provider_timeout", "The provider timed out", "No provider", id="time-up"),
        pytest.param(
            ChatStatus.TRUNCATED, "truncated_reply", "The provider ended the stream early", "No provider", id="cut"
        ),
    ],
)
def test_what_a_status_means_is_said_in_words(admin_client, status, error_code, words, attempts):
    chat_id = new_chat_id()
    outcome = Outcome(chat_id=chat_id, status=status, error_type="server_error", error_code=error_code)
    append_events([make_intent(chat_id), outcome.entry()])

    page = admin_client.get(page_of(chat_id)).content.decode()

    assert words in page
    assert attempts in page


def test_a_name_in_a_filter_does_not_steer_the_screen_either(admin_client):
    page = admin_client.get(LIST, {"end_user": HOSTILE, "q": HOSTILE}).content.decode()

    assert "<script>alert(1)" not in page
    assert "[U+202E]" in page


def test_each_turn_stands_for_itself(admin_client):
    chat = record({"role": "system", "content": "be brief"}, user("שלום"), answer="hello")

    page = admin_client.get(page_of(chat)).content.decode()

    for role, said in (("system", "be brief"), ("user", "שלום"), ("assistant", "hello")):
        assert f'<li class="chat-turn chat-turn-{role}">' in page
        assert f'<div class="chat-said" dir="auto">{said}</div>' in page


def test_what_is_long_is_cut_and_leads_to_all_of_it(admin_client):
    chat = record(user("x" * (MAX_RAW_CHARS + 1)))

    answer = admin_client.get(page_of(chat))

    page = answer.content.decode()
    assert page.count("x" * MAX_SHOWN_CHARS) > 0
    assert "x" * MAX_RAW_CHARS not in page
    assert f"20,000 of {MAX_RAW_CHARS + 1:,} characters" in page
    assert raw_of(chat, "request") in page


def test_a_long_conversation_shows_its_end(admin_client):
    chat = record(*(user(f"turn {n}") for n in range(MAX_MESSAGES + 9)))

    page = shown(admin_client, page_of(chat))

    assert len(page.messages) == MAX_MESSAGES
    assert page.messages_left_out == 10
    assert page.messages[-1].role == "assistant"


@pytest.mark.parametrize("has_file", [True, False])
def test_a_body_says_whether_files_were_left_out_of_it(admin_client, has_file):
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'iVBORw0KGgoA' * 20}"}}
    chat = record({"role": "user", "content": [picture] if has_file else "hello"})

    page = admin_client.get(page_of(chat)).content.decode()

    assert page.count("Files are not stored") == page.count("bytes, not stored; SHA-256") == has_file


@pytest.mark.parametrize(("part", "said"), [("request", "what is this"), ("response", "a test")])
def test_raw_bodies_are_given_out_whole_as_files(admin_client, part, said):
    chat = record(user("what is this"), answer="a test")

    answer = admin_client.get(raw_of(chat, part))

    assert said in answer.content.decode()
    assert answer["Content-Disposition"] == f'attachment; filename="chat-{chat}-{part}.json"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert LedgerEvent.objects.get(kind=EventKind.READ).event["chat"] == str(chat)


def test_what_is_not_there_is_not_given_out(admin_client):
    chat = record(user("hello"))
    still_open = new_chat_id()
    append_events([make_intent(still_open)])

    for url in (raw_of(chat, "other"), raw_of(new_chat_id(), "request"), raw_of(still_open, "response")):
        assert admin_client.get(url).status_code == 404


def test_raw_bodies_are_for_those_who_may_view_chats():
    chat, client = record(user("hello")), member_of()

    assert client.get(raw_of(chat, "request")).status_code == 403
    assert not LedgerEvent.objects.filter(kind=EventKind.READ).exists()


def test_raw_bodies_are_not_given_out_unrecorded(admin_client):
    chat = record(user("canary prompt"))
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION ledger_append RENAME TO ledger_append_away")

    answer = admin_client.get(raw_of(chat, "request"))

    assert answer.status_code == 503
    assert "canary prompt" not in answer.content.decode()


def test_a_page_shows_the_events_each_with_its_hash(admin_client):
    chat = record(user("hello"))

    page = admin_client.get(page_of(chat)).content.decode()

    for event in LedgerEvent.objects.filter(chat_id=chat):
        assert reverse("admin:ledger_ledgerevent_change", args=[event.pk]) in page
        assert bytes(event.leaf_hash).hex() in page


def test_events_lead_nobody_where_they_may_not_go():
    chat, client = record(user("hello")), member_of(permissions=("view_chat",))

    assert "/admin/ledger/ledgerevent/" not in client.get(page_of(chat)).content.decode()


def test_a_page_takes_as_many_queries_however_much_there_is(admin_client):
    short = record(user("hello"))
    long = record(*(user("hello") for _ in range(100)), conversation="c-1")
    append_events([Read(chat_id=long, actor="ann", source="api").entry() for _ in range(MAX_EVENTS)])
    admin_client.get(page_of(short))
    with CaptureQueriesContext(connection) as for_short:
        admin_client.get(page_of(short))

    with CaptureQueriesContext(connection) as for_long:
        answer = admin_client.get(page_of(long))

    assert len(for_long) <= len(for_short) + 2
    assert len(for_long) < 25
    assert answer.context["page"].events_left_out


@pytest.mark.parametrize(
    ("query", "told"),
    [
        pytest.param("", "No chats yet", id="none-at-all"),
        pytest.param("?application=nobody", "No chats match these filters", id="none-found"),
        pytest.param("?q=nobody", "No chats match these filters", id="none-searched"),
        pytest.param("?cost_from=much", "One filter is invalid", id="unreadable"),
        pytest.param("?p=7", "No more chats", id="past-the-end"),
        pytest.param(f"?p={MAX_PAGES + 1}", "No more chats", id="past-the-last-page"),
        pytest.param("?status=failed&status=lost&p=2", "No more chats", id="past-the-end-of-what-is-found"),
    ],
)
def test_an_empty_list_says_what_to_do(admin_client, query, told):
    assert told in admin_client.get(LIST + query).content.decode()


def test_the_events_list_holds_its_kind_and_its_time(admin_client):
    record(user("hello"))

    answer = admin_client.get("/admin/ledger/ledgerevent/?kind__exact=outcome")

    assert [event.kind for event in answer.context["cl"].result_list] == [EventKind.OUTCOME]
    assert Chat.objects.get().finished_at.isoformat() in answer.content.decode()
    assert admin_client.get("/admin/ledger/ledgerevent/?writer_seq__gte=1").status_code == 400


@pytest.mark.parametrize(
    "path", [f"{LIST}?status=failed", "/admin/ledger/ledgerevent/", "/admin/ledger/ledgerwriterrecord/"]
)
def test_no_list_claims_to_have_counted(admin_client, path):
    record(user("hello"))

    page = admin_client.get(path).content.decode()

    assert "9999999999" not in page
    assert "Show counts" not in page
