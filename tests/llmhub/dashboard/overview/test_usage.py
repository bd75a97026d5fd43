from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.history.models import Chat, Cut
from chat.history.rollups import DAY, HOUR, roll_up
from chat.ledger.models import ChatStatus
from llmhub.access.models import ApiKey, Application
from llmhub.dashboard.overview.usage import ERRORS, PERIODS, Overview, UsageTotals, attention, get_overview
from llmhub.operations.models import Service
from llmhub.operations.status import Database, Status
from providers.models import Health, ProviderConfig
from tests.chat.history.test_rollups import make_chat

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, 34, 56, tzinfo=UTC)


def served(at: datetime = NOW, **fields: Any) -> Chat:
    values = {
        "status": ChatStatus.SUCCEEDED,
        "application": "bot",
        "provider": "acme",
        "model_name": "small",
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "cost_nano_usd": 1000,
        "latency_ms": 250,
    }
    return make_chat(at, **values | fields)


def failed(at: datetime = NOW, **fields: Any) -> Chat:
    values = {"status": ChatStatus.FAILED, "error_type": "server_error", "prompt_tokens": None, "cost_nano_usd": None}
    return served(at, **values | {"completion_tokens": None, "latency_ms": 9} | fields)


def look(*chats: Chat, period: str = "24h", now: datetime = NOW) -> Overview:
    Chat.objects.bulk_create(chats)
    roll_up(now=now)
    return get_overview(PERIODS[period], get_status(), now=now)


def get_status() -> Status:
    providers = tuple(ProviderConfig.objects.in_order())
    return Status(database=Database.READY, has_redis=True, alive=frozenset(Service), providers=providers)


def test_a_period_is_this_hour_and_the_twenty_three_before_or_today_and_thirteen_days():
    hours, days = (PERIODS[name].begins(now=NOW) for name in ("24h", "14d"))

    assert (len(hours), hours[0], hours[-1]) == (
        24,
        datetime(2026, 11, 21, 13, tzinfo=UTC),
        NOW.replace(minute=0, second=0),
    )
    assert (len(days), days[0], days[-1]) == (14, datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC))


@pytest.mark.parametrize("period", PERIODS)
def test_the_sums_hold_the_chats_of_the_period_and_no_others(period):
    first = PERIODS[period].begins(now=NOW)[0]

    overview = look(served(), served(first), served(first - timedelta(microseconds=1)), period=period)

    assert (overview.total.chats, overview.total.tokens, overview.total.cost_nano_usd) == (2, 84, 2000)
    assert [bucket.usage.chats for bucket in overview.buckets] == [1, *[0] * (len(overview.begins) - 2), 1]
    assert [row.usage.chats for row in overview.tables[Cut.PROVIDER].top] == [2]


def test_errors_are_what_ended_badly_of_all_that_ended():
    others = (ChatStatus.SUCCEEDED, ChatStatus.CLIENT_DISCONNECTED)
    chats = [served(status=status) for status in (*ERRORS, *others, *[ChatStatus.STARTED] * 2)]

    total = look(*chats).total

    assert (total.chats, total.open_chats, total.errors, total.error_rate) == (8, 2, 4, 4 / 6)
    assert UsageTotals().error_rate is None


def test_a_cost_is_unknown_only_where_a_provider_was_at_work():
    unpriced = [served(status=status, cost_nano_usd=None) for status in ChatStatus.values]

    total = look(served(), *unpriced).total

    assert (total.cost_nano_usd, total.unpriced_chats) == (1000, 3)


def test_latencies_are_those_of_chats_that_succeeded():
    overview = look(*(served(latency_ms=ms) for ms in [200] * 18 + [9000] * 2), *[failed() for _ in range(50)])

    for usage in (overview.total, overview.tables[Cut.PROVIDER].top[0].usage, overview.buckets[-1].usage):
        assert 171 <= usage.p50_ms <= 256
        assert 6568 <= usage.p95_ms <= 9853
    assert overview.buckets[0].usage.p50_ms is None


@pytest.mark.parametrize(
    ("cut", "fields"),
    [(Cut.PROVIDER, {"provider"}), (Cut.APPLICATION, {"application"}), (Cut.MODEL, {"model_name"})],
)
def test_the_ten_with_the_most_chats_are_shown_and_the_others_summed(cut, fields):
    chats = [served(**dict.fromkeys(fields, f"name-{n:02}")) for n in range(13) for _ in range(n + 1)]

    table = look(*chats).tables[cut]

    assert [row.usage.chats for row in table.top] == list(range(13, 3, -1))
    assert "name-12" in table.top[0].names
    assert (table.rest_rows, table.rest.chats, table.rest.tokens) == (3, 6, 6 * 42)


def test_errors_are_counted_by_type_and_provider_with_their_codes():
    chats = [failed(error_code="timeout"), failed(error_code="reset"), failed(), failed(provider="other")]

    errors = look(*chats, served()).errors

    assert [(e.error_type, e.provider, e.status, e.codes, e.chats) for e in errors] == [
        ("server_error", "acme", "failed", ("reset", "timeout"), 3),
        ("server_error", "other", "failed", (), 1),
    ]


def test_sums_older_than_three_minutes_are_late():
    overview = look(served())

    assert not overview.is_late(now=NOW + timedelta(minutes=3))
    assert overview.is_late(now=NOW + timedelta(minutes=3, seconds=1))
    assert get_overview(PERIODS["24h"], get_status(), now=NOW + DAY).total.chats == 0


def test_what_was_never_summed_is_late():
    Chat.objects.bulk_create([served()])

    overview = get_overview(PERIODS["24h"], get_status(), now=NOW)

    assert (overview.rolled_at, overview.is_late(now=NOW), overview.first_steps) == (None, True, None)


def test_first_steps_are_shown_until_there_is_a_chat_however_old():
    before = look()

    after = look(served(NOW - 40 * DAY))

    assert before.first_steps is not None
    assert (after.first_steps, after.total.chats) == (None, 0)


def test_first_steps_are_done_by_a_healthy_provider_and_a_live_key():
    todo = look().first_steps
    ProviderConfig.objects.update(health=Health.HEALTHY)
    key, _ = ApiKey.objects.issue(Application.objects.create(name="bot"), name="one", scopes=["chat"])
    done = look().first_steps
    ProviderConfig.objects.update(enabled=False)
    ApiKey.objects.filter(pk=key.pk).revoke(now=NOW)

    assert (todo.has_healthy_provider, todo.has_key) == (False, False)
    assert (done.has_healthy_provider, done.has_key) == (True, True)
    assert look().first_steps == todo


def test_each_provider_in_need_is_named_with_what_it_needs():
    row = ProviderConfig.objects.get()
    ProviderConfig.objects.update(health=Health.UNHEALTHY, last_error="connection refused")
    ProviderConfig.objects.create(name="well", provider_type="custom", health=Health.HEALTHY)

    (item,) = attention(get_status())

    assert (item.provider_id, item.provider) == (row.pk, "ollama")
    assert "connection refused" in item.message


def test_a_hundred_of_everything_take_as_many_queries_as_one_and_no_chat_is_read():
    look(served(), failed())
    status = get_status()
    with CaptureQueriesContext(connection) as for_one:
        get_overview(PERIODS["24h"], status, now=NOW)
    look(*(served(NOW - n % 24 * HOUR, provider=f"p{n}", model_name=f"m{n}", application=f"a{n}") for n in range(100)))
    look(*(failed(provider=f"p{n}", error_type=f"e{n}") for n in range(100)))

    with CaptureQueriesContext(connection) as for_many:
        get_overview(PERIODS["24h"], status, now=NOW)

    assert len(for_many) == len(for_one) <= 10
    assert not any('FROM "chat_chat"' in query["sql"] for query in for_many)
