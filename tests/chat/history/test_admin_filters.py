from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from chat.history.links import chats_url, utc_text
from chat.history.models import Chat
from chat.ledger.append import append_events
from chat.ledger.events import Caller
from chat.ledger.models import ChatStatus
from providers.types import Usage
from tests.chat.ledger.samples import make_intent, make_outcome, make_void, new_chat_id

pytestmark = pytest.mark.django_db

LIST = "/admin/chat/chat/"
MINE = Caller(application="mine", end_user="bob", conversation="c-9", actor="root")


@pytest.fixture(autouse=True)
def one_of_each(empty_ledger: None) -> None:
    """One chat that filters are to find, and others that differ from it in everything."""
    found, other, refused = (new_chat_id() for _ in range(3))
    outcome = {"provider": "mine", "model_name": "mine-large", "status": ChatStatus.FAILED, "error_type": "MineError"}
    usage = Usage(prompt_tokens=400, completion_tokens=100)
    append_events(
        [
            make_intent(found, caller=MINE),
            make_outcome(found, **outcome, usage=usage, cost_nano_usd=2_000_000_000),
            make_intent(other),
            make_outcome(other, usage=Usage(prompt_tokens=1, completion_tokens=1), cost_nano_usd=1),
            make_void(refused),
        ]
    )


def listed(client, url):
    answer = client.get(url)
    assert answer.status_code == 200
    return list(answer.context["cl"].result_list)


@pytest.mark.parametrize(
    "filters",
    [
        {"application": "mine"},
        {"provider": "mine"},
        {"model_name": "mine-large"},
        {"status": "failed"},
        {"error": "MineError"},
        {"end_user": "bob"},
        {"conversation": "c-9"},
    ],
    ids=lambda filters: next(iter(filters)),
)
def test_a_link_leads_to_the_chats_it_names(admin_client, filters):
    (chat,) = listed(admin_client, chats_url(**filters))

    assert chat.application == "mine"


@pytest.mark.parametrize("name", ["application", "provider", "model_name", "error", "end_user", "conversation"])
def test_a_link_to_what_there_is_not_leads_to_none(admin_client, name):
    assert listed(admin_client, chats_url(**{name: "nobody"})) == []


def test_a_link_without_filters_leads_to_all(admin_client):
    assert chats_url() == LIST
    assert len(listed(admin_client, chats_url())) == 3


def test_links_keep_to_their_time(admin_client):
    at = Chat.objects.get(application="mine").started_at
    second = timedelta(seconds=1)

    assert len(listed(admin_client, chats_url(since=at - second, until=at + second, application="mine"))) == 1
    assert listed(admin_client, chats_url(since=at + second, application="mine")) == []
    assert listed(admin_client, chats_url(until=at - second, application="mine")) == []


def test_times_are_written_in_utc():
    at = datetime.fromisoformat("2026-11-22T18:00:00+02:00")

    assert chats_url(since=at, until=at.replace(microsecond=5000)).endswith(
        "?since=2026-11-22T16%3A00%3A00&until=2026-11-22T16%3A00%3A00.005"
    )


def moment_of(name, *, shift_s):
    return utc_text(Chat.objects.get(application=name).started_at + timedelta(seconds=shift_s))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("actor=root", ["mine"], id="signed-in-user"),
        pytest.param("status=failed&status=rejected", ["mine", "demo"], id="several-statuses"),
        pytest.param("within=hour", ["mine", "demo", "demo"], id="period"),
        pytest.param("cost_from=1.5", ["mine"], id="costs-at-least"),
        pytest.param("cost_to=0.5", ["demo"], id="costs-at-most"),
        pytest.param("cost_from=2&cost_to=2", ["mine"], id="costs-just-that"),
        pytest.param("tokens_from=500", ["mine"], id="tokens-at-least"),
        pytest.param("tokens_to=499", ["demo"], id="tokens-at-most"),
        pytest.param("application=%20mine%20", ["mine"], id="spaces-around"),
        pytest.param("application=mine&status=succeeded", [], id="all-at-once"),
        pytest.param("since=yesterday", [], id="no-time"),
        pytest.param("cost_from=much", [], id="no-number"),
        pytest.param("status=odd", [], id="no-status"),
        pytest.param("within=year", [], id="no-period"),
    ],
)
def test_filters_find(admin_client, query, found):
    assert sorted(chat.application for chat in listed(admin_client, f"{LIST}?{query}")) == sorted(found)


def test_the_narrower_of_two_times_counts(admin_client):
    tomorrow = utc_text(datetime.now(UTC) + timedelta(days=1))

    assert listed(admin_client, f"{LIST}?within=hour&since={tomorrow}") == []


def test_a_filter_that_cannot_be_read_says_so(admin_client):
    page = admin_client.get(f"{LIST}?since=yesterday").content.decode()

    assert "Enter a valid date/time." in page


def test_filters_in_use_are_shown_each_with_a_way_out(admin_client):
    answer = admin_client.get(f"{LIST}?status=failed&status=lost&application=mine&p=2")

    (spec,) = answer.context["cl"].filter_specs
    assert [(chip.label, chip.value, chip.without) for chip in spec.chips] == [
        ("Status", "Failed", "?status=lost&application=mine"),
        ("Status", "Lost", "?status=failed&application=mine"),
        ("Application", "mine", "?status=failed&status=lost"),
    ]


def test_names_are_suggested_from_what_there_is(admin_client):
    page = admin_client.get(LIST).content.decode()

    for name in ("mine", "demo", "acme", "mine-large", "MineError", "not_found_error"):
        assert f'<option value="{name}"></option>' in page


def test_lookups_that_no_index_serves_are_refused(admin_client):
    assert admin_client.get(f"{LIST}?end_user__icontains=b").status_code == 400


def test_many_names_are_suggested_in_order_up_to_a_bound():
    for name in "edcba":
        append_events([make_intent(new_chat_id(), caller=Caller(application=name))])

    assert Chat.objects.names("application", most=3) == ("a", "b", "c")


def test_costs_are_compared_to_the_nano_dollar():
    assert Chat.objects.with_cost(least_usd=Decimal("0.000000001"), most_usd=Decimal("0.000000001")).count() == 1
