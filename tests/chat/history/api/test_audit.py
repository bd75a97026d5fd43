import datetime as dt
import json
from decimal import Decimal
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from rest_framework.test import APIClient

from chat.history.models import Chat
from chat.ledger.append import append_events
from chat.ledger.content import make_answer, make_content
from chat.ledger.events import Caller, RequestSummary
from chat.ledger.models import ChatStatus, LedgerEvent
from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from providers.types import Attempt
from tests.chat.ledger.samples import ANSWER, make_intent, make_outcome, make_void, new_chat_id

pytestmark = pytest.mark.django_db

CHATS = "/api/audit/chats"


def client_with(*scopes):
    application = Application.objects.create(name="auditor")
    _, secret = ApiKey.objects.issue(application, name="key", scopes=list(scopes))
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


@pytest.fixture
def auditor():
    return client_with(Scope.AUDIT_READ_ALL)


def record_chat(*, caller=None, asked=None, **outcome):
    chat_id = new_chat_id()
    opening = {}
    if caller is not None:
        opening["caller"] = Caller(**caller)
    if asked is not None:
        opening["asked"] = RequestSummary(dialect="openai", **asked)
    append_events([make_intent(chat_id, **opening), make_outcome(chat_id, **outcome)])
    return chat_id


def ids(response):
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def last_event(kind):
    return LedgerEvent.objects.filter(kind=kind).latest("id").event


@pytest.mark.parametrize(
    ("query", "recorded"),
    [
        ({"app": "wanted"}, {"caller": {"application": "wanted"}}),
        ({"key": "lh_wanted"}, {"caller": {"api_key": "lh_wanted"}}),
        ({"user": "wanted"}, {"caller": {"end_user": "wanted"}}),
        ({"conversation": "wanted"}, {"caller": {"conversation": "wanted"}}),
        ({"provider": "wanted"}, {"provider": "wanted"}),
        ({"model": "wanted"}, {"model_name": "wanted"}),
        ({"status": "truncated"}, {"status": ChatStatus.TRUNCATED}),
        ({"min_cost": "0.5"}, {"cost_nano_usd": 500_000_000}),
        ({"app": "wanted", "status": "failed"}, {"caller": {"application": "wanted"}, "status": ChatStatus.FAILED}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) and "status" not in str(type(value)) else None,
)
def test_a_filter_keeps_what_was_asked_for(auditor, query, recorded):
    record_chat(cost_nano_usd=499_999_999)
    wanted = record_chat(**recorded)
    record_chat(cost_nano_usd=None)

    assert ids(auditor.get(CHATS, query)) == [str(wanted)]


def test_a_period_begins_with_since_and_ends_before_until(auditor):
    chats = [record_chat() for _ in range(3)]
    now = dt.datetime.now(dt.UTC)
    for hours, chat_id in zip((2, 1, 0), chats, strict=True):
        Chat.objects.filter(pk=chat_id).update(started_at=now - dt.timedelta(hours=hours))

    since, until = (now - dt.timedelta(hours=hours) for hours in (2, 1))

    assert ids(auditor.get(CHATS, {"since": since.isoformat(), "until": until.isoformat()})) == [str(chats[0])]
    assert ids(auditor.get(CHATS, {"since": until.isoformat()})) == [
        str(chat_id) for chat_id in sorted(chats[1:], reverse=True)
    ]
    assert ids(auditor.get(CHATS, {"until": "2020-01-01"})) == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "asleep"}, "status"),
        ({"since": "yesterday"}, "since"),
        ({"until": "32nd"}, "until"),
        ({"min_cost": "much"}, "min_cost"),
        ({"min_cost": "NaN"}, "min_cost"),
        ({"app": "a\x00b"}, "app"),
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "0000000019999999"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"cursor": "garbage"}, "cursor"),
        ({"cursor": "cD1nYXJiYWdl"}, "cursor"),
        ({"application": "demo"}, "application"),
        ({"\x00é": "demo"}, "\x00é"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(auditor, query, param):
    response = auditor.get(CHATS, query)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["param"] == param


def test_a_cost_beyond_all_chats_finds_none(auditor):
    record_chat()

    assert ids(auditor.get(CHATS, {"min_cost": "1e40"})) == []


def test_pages_are_newest_first_and_miss_and_repeat_nothing(auditor):
    chats = [str(record_chat()) for _ in range(7)]
    seen, url = [], f"{CHATS}?limit=3"
    while url:
        page = auditor.get(url)
        seen += ids(page)
        record_chat()
        url = page.json()["next"]

    assert seen == sorted(chats, reverse=True)


def test_a_page_is_found_without_counting_and_in_few_queries(auditor, django_assert_max_num_queries):
    for _ in range(5):
        record_chat()

    with django_assert_max_num_queries(5) as queries:
        auditor.get(CHATS, {"app": "demo", "limit": "2"})

    assert not [query for query in queries if "COUNT(" in query["sql"]]


def test_a_row_tells_all_but_content(auditor):
    chat_id = record_chat(
        caller={"application": "demo", "api_key": "lh_demo", "end_user": "ann", "address": "10.0.0.7"},
        asked={"model_name": "acme/small", "is_stream": True},
        error_type=None,
        first_token_ms=7,
    )

    (row,) = auditor.get(CHATS).json()["results"]

    times = row.pop("times")
    assert dt.datetime.fromisoformat(times.pop("started_at")) <= dt.datetime.fromisoformat(times.pop("finished_at"))
    assert times == {"latency_ms": 20, "first_token_ms": 7, "overhead_us": 800}
    assert row.pop("attempts")[0]["provider"] == "acme"
    assert row == {
        "id": str(chat_id),
        "status": "succeeded",
        "application": "demo",
        "api_key": "lh_demo",
        "actor": None,
        "user": "ann",
        "conversation": None,
        "address": "10.0.0.7",
        "dialect": "openai",
        "stream": True,
        "asked": {"provider": None, "model": "acme/small"},
        "provider": "acme",
        "model": "small",
        "tokens": {"prompt": 3, "completion": 5, "cached": None, "reasoning": None, "source": "provider"},
        "cost_usd": 0.0000012,
        "finish_reason": "stop",
        "native_finish_reason": None,
        "error": None,
        "http_status": 200,
    }


def test_a_chat_is_shown_with_all_that_was_said_and_recorded(auditor):
    failed = Attempt(
        provider="down", model_name="m", ok=False, latency_ms=3, error_type="UnreachableError", error="No route to it."
    )
    served = Attempt(provider="acme", model_name="small", ok=True, latency_ms=4, upstream_request_id="r-1")
    chat_id = record_chat(attempts=(failed, served), content=make_answer(ANSWER, (failed, served)))

    body = auditor.get(f"{CHATS}/{chat_id}").json()

    assert body["transcript"] == [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    assert [(attempt["provider"], attempt["error"]) for attempt in body["attempts"]] == [
        ("down", "No route to it."),
        ("acme", None),
    ]
    assert [event["kind"] for event in body["events"]] == ["intent", "outcome", "read"]
    for event in body["events"]:
        recorded = LedgerEvent.objects.get(pk=event["id"])
        assert event["leaf_hash"] == bytes(recorded.leaf_hash).hex()
        assert event["writer_seq"] == recorded.writer_seq


def test_a_refused_chat_is_shown_with_its_refusal(auditor):
    append_events([make_void(chat_id := new_chat_id(), content=make_content(b"{not json"))])

    body = auditor.get(f"{CHATS}/{chat_id}").json()

    assert (body["status"], body["http_status"], body["cost_usd"]) == ("rejected", 404, None)
    assert body["error"] == {"type": "not_found_error", "code": "model_not_found"}
    assert body["transcript"] == [{"role": "request", "content": "{not json"}]


@pytest.mark.parametrize("chat_id", [uuid4(), "no-id", "a\x00b"])
def test_a_chat_that_is_not_there_is_not_found(auditor, chat_id):
    response = auditor.get(f"{CHATS}/{chat_id}")

    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


def test_searching_is_recorded_with_who_and_what(auditor):
    auditor.get(CHATS, {"app": "demo", "since": "2026-01-01T00:00:00Z"}, REMOTE_ADDR="10.1.2.3")

    search = last_event("search")
    key = ApiKey.objects.get()
    assert search["filters"] == {"app": "demo", "since": "2026-01-01T00:00:00Z"}
    assert (search["app"], search["source"], search["address"]) == ("auditor", "api", "10.1.2.3")
    assert search["actor"] == f"auditor ({key.prefix})"


def test_reading_is_recorded_with_who_and_which_chat(auditor):
    chat_id = record_chat()

    auditor.get(f"{CHATS}/{chat_id}")

    read = last_event("read")
    assert (read["chat"], read["app"], read["source"]) == (str(chat_id), "auditor", "api")


@pytest.mark.parametrize("path", [CHATS, f"{CHATS}/{{}}"])
def test_what_cannot_be_recorded_is_not_shown(auditor, path):
    chat_id = record_chat()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_ledgerevent ADD CHECK (kind NOT IN ('read', 'search')) NOT VALID")

    response = auditor.get(path.format(chat_id))

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "record_unavailable"
    assert "hello" not in response.content.decode()
    assert str(chat_id) not in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_look_is_committed_before_anything_is_shown(auditor):
    chat_id = record_chat()

    auditor.get(f"{CHATS}/{chat_id}")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_xact_status(xid) FROM ledger_ledgerevent WHERE kind = 'read' AND chat_id = %s", (chat_id,)
        )
        assert cursor.fetchall() == [("committed",)]


@pytest.mark.parametrize("path", [CHATS, f"{CHATS}/{{}}"])
def test_only_those_with_the_scope_may_look(path):
    chat_id = record_chat()
    url = path.format(chat_id)

    assert APIClient().get(url).status_code == 401
    assert client_with(Scope.CHAT, Scope.PROVIDERS_WRITE).get(url).status_code == 403
    assert not LedgerEvent.objects.filter(kind__in=("read", "search"), writer_seq__gt=0, chat_id=chat_id).exists()


def test_a_signed_in_reviewer_looks_by_name():
    user = get_user_model().objects.create_user("rita", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_chat"))
    client = APIClient()
    client.force_login(user)

    response = client.get(CHATS)

    assert response.status_code == 200
    assert (last_event("search")["actor"], last_event("search")["app"]) == ("rita", None)


def test_the_schema_names_every_filter_and_the_shapes(auditor):
    schema = auditor.get("/api/schema", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()

    listing = schema["paths"][CHATS]["get"]
    names = {parameter["name"] for parameter in listing["parameters"]}
    filters = {"app", "key", "user", "provider", "model", "status", "conversation", "since", "until", "min_cost"}
    assert names == filters | {"cursor", "limit"}
    shown = schema["components"]["schemas"]["ChatDetail"]["properties"]
    body = auditor.get(f"{CHATS}/{record_chat()}").json()
    assert set(shown) == set(body)


def test_a_cost_is_exact_to_the_nano_dollar():
    assert Chat(cost_nano_usd=1).cost_usd == Decimal("1e-9")
    assert json.loads(json.dumps(float(Chat(cost_nano_usd=1_234_567_891).cost_usd))) == 1.234567891
