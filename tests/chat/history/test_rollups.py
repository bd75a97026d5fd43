from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pghistory
import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from chat.history.models import (
    LATENCY_BOUNDS_MS,
    LATENCY_COUNTERS,
    Chat,
    Cut,
    Granularity,
    RolledBucket,
    UsageRollup,
    first_id_at,
)
from chat.history.rollups import (
    DAY,
    DAYS_MADE,
    HOUR,
    delete_expired,
    floor_day,
    floor_hour,
    percentile_ms,
    roll_up,
    rolled_at,
    stale_hours,
)
from chat.history.tasks import usage_rollup
from chat.ledger.append import append_events
from chat.ledger.models import ChatStatus
from llmhub.runtime.database import conninfo
from tests.chat.ledger.samples import make_intent, make_lost, make_outcome, new_chat_id

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, 34, 56, tzinfo=UTC)
THIS_HOUR = floor_hour(NOW)
TOLD_APART = {
    Cut.HUB: (),
    Cut.PROVIDER: ("provider",),
    Cut.MODEL: ("provider", "model_name"),
    Cut.APPLICATION: ("application", "actor"),
    Cut.ERROR: ("provider", "error_type", "error_code"),
}
NAMES = ("provider", "model_name", "application", "actor", "error_type", "error_code")
SUMS = ("prompt_tokens", "completion_tokens", "cost_nano_usd")
CLOSED = {"status": ChatStatus.SUCCEEDED, "latency_ms": 120, "cost_nano_usd": 5, "prompt_tokens": 3}


def make_chat(at: datetime, **fields: Any) -> Chat:
    chat_id = UUID(int=first_id_at(at).int | 7 << 76 | uuid4().int & (2**64 - 1))
    return Chat(id=chat_id, started_at=at, writer_id=uuid4(), intent_id=uuid4(), **fields)


def save_chat(at: datetime, **fields: Any) -> Chat:
    chat = make_chat(at, **fields)
    chat.save(force_insert=True)
    return chat


def random_chat(dice: random.Random) -> Chat:
    status = dice.choice(ChatStatus.values)
    is_error = status in (ChatStatus.FAILED, ChatStatus.REJECTED, ChatStatus.LOST)
    return make_chat(
        NOW - timedelta(seconds=dice.randrange(60 * 3600)),
        status=status,
        provider=dice.choice(("acme", "other", "")),
        model_name=dice.choice(("small", "large")),
        application=(application := dice.choice(("bot", "shop", ""))),
        actor="" if application else "ann",
        error_type=dice.choice(("server_error", "lost")) if is_error else "",
        error_code=dice.choice(("", "timeout")) if is_error else "",
        prompt_tokens=dice.choice((None, dice.randrange(4000))),
        completion_tokens=dice.choice((None, dice.randrange(4000))),
        cost_nano_usd=dice.choice((None, 0, dice.randrange(10**9))),
        latency_ms=dice.choice((None, dice.choice(LATENCY_BOUNDS_MS), int(10 ** dice.uniform(0, 6.5)))),
    )


def counter_of(latency_ms: int) -> int:
    return sum(latency_ms >= bound for bound in LATENCY_BOUNDS_MS)


def add_up(chats: list[Chat], cut: Cut, floor: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The sums as the chats themselves give them, one by one."""
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for chat in chats:
        if cut is Cut.ERROR and not chat.error_type:
            continue
        names = tuple(getattr(chat, name) if name in TOLD_APART[cut] else "" for name in NAMES)
        row = sums.setdefault((floor(chat.started_at), chat.status, *names), Counter(latency=Counter()))
        row["chats"] += 1
        row["unpriced_chats"] += chat.cost_nano_usd is None
        for name in SUMS:
            row[name] += getattr(chat, name) or 0
        if chat.latency_ms is not None:
            row["latency"][counter_of(chat.latency_ms)] += 1
    return sums


def rolled(cut: Cut, granularity: Granularity = Granularity.HOUR) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = list(UsageRollup.objects.filter(granularity=granularity, cut=cut))
    sums = {
        (row.at, row.status, *(getattr(row, name) for name in NAMES)): {
            "chats": row.chats,
            "unpriced_chats": row.unpriced_chats,
            "latency": {i: n for i, n in enumerate(row.latency_counts) if n},
            **{name: getattr(row, name) for name in SUMS},
        }
        for row in rows
    }
    assert len(sums) == len(rows)
    return sums


def hub_chats(at: datetime, granularity: Granularity = Granularity.HOUR) -> dict[str, int]:
    rows = UsageRollup.objects.filter(granularity=granularity, cut=Cut.HUB, at=at)
    return dict(rows.values_list("status", "chats"))


@pytest.mark.parametrize("seed", range(3))
def test_the_sums_are_those_of_the_chats_one_by_one(seed):
    dice = random.Random(seed)
    chats = Chat.objects.bulk_create([random_chat(dice) for _ in range(400)])

    roll_up(now=NOW)

    for cut in Cut:
        assert rolled(cut) == add_up(chats, cut, floor_hour)
        assert rolled(cut, Granularity.DAY) == add_up(chats, cut, floor_day)


def test_a_second_run_sums_two_hours_and_changes_nothing():
    Chat.objects.bulk_create([random_chat(random.Random(7)) for _ in range(50)])
    roll_up(now=NOW)
    before = [rolled(cut, granularity) for cut in Cut for granularity in Granularity]

    hours = roll_up(now=NOW)

    assert hours == 2
    assert [rolled(cut, granularity) for cut in Cut for granularity in Granularity] == before


def test_the_first_run_goes_back_to_the_first_of_fourteen_days_and_sums_hours_that_hold_chats():
    first = floor_day(NOW) - (DAYS_MADE - 1) * DAY
    save_chat(first, **CLOSED)
    save_chat(first - timedelta(microseconds=1), **CLOSED)

    hours = roll_up(now=NOW)

    assert hours == len({first, floor_hour(NOW), floor_hour(NOW) - HOUR})
    assert hub_chats(first) == hub_chats(first, Granularity.DAY) == {"succeeded": 1}
    assert not UsageRollup.objects.filter(at__lt=first).exists()


def test_what_does_not_fit_into_one_run_is_done_by_the_next():
    for hours in range(3):
        save_chat(NOW - hours * HOUR, **CLOSED)

    assert roll_up(now=NOW, max_s=-1) == 0
    assert (UsageRollup.objects.count(), len(stale_hours(now=NOW))) == (0, 3)

    roll_up(now=NOW)

    assert hub_chats(floor_day(NOW), Granularity.DAY) == {"succeeded": 3}


@pytest.mark.parametrize("after", [timedelta(minutes=1), timedelta(minutes=59)], ids=["this-hour", "the-last-hour"])
def test_a_chat_of_this_and_of_the_last_hour_is_counted_by_the_next_run(after):
    roll_up(now=NOW)
    save_chat(NOW, **CLOSED)

    roll_up(now=NOW + after)

    assert hub_chats(THIS_HOUR) == {"succeeded": 1}


def test_an_hour_that_was_only_begun_when_the_worker_stopped_is_summed_to_its_end_by_the_next_run():
    save_chat(THIS_HOUR, **CLOSED)
    roll_up(now=THIS_HOUR + timedelta(minutes=1))
    save_chat(THIS_HOUR + timedelta(minutes=59), **CLOSED)

    roll_up(now=THIS_HOUR + 5 * HOUR)

    assert hub_chats(THIS_HOUR) == {"succeeded": 2}
    assert THIS_HOUR not in stale_hours(now=THIS_HOUR + 5 * HOUR)


def test_an_empty_hour_that_was_only_begun_when_the_worker_stopped_is_done_with_after_the_next_run():
    roll_up(now=THIS_HOUR + timedelta(minutes=1))

    roll_up(now=THIS_HOUR + 5 * HOUR)

    assert THIS_HOUR not in stale_hours(now=THIS_HOUR + 5 * HOUR)


@pytest.mark.parametrize("status", [ChatStatus.STARTED, ChatStatus.LOST])
def test_an_older_hour_is_summed_again_once_a_chat_of_it_has_moved_on(status):
    chat = save_chat(NOW - 30 * HOUR, status=status)
    roll_up(now=NOW)
    then = floor_hour(chat.started_at)

    assert then not in stale_hours(now=NOW)
    Chat.objects.filter(pk=chat.pk).update(**CLOSED)
    assert roll_up(now=NOW) == 3

    assert hub_chats(then) == {"succeeded": 1}
    assert hub_chats(floor_day(then), Granularity.DAY) == {"succeeded": 1}


def test_a_chat_named_by_a_clock_that_is_hours_off_counts_where_it_started():
    chat = save_chat(NOW - 20 * HOUR, **CLOSED)
    Chat.objects.filter(pk=chat.pk).update(started_at=NOW)

    roll_up(now=NOW)

    assert hub_chats(THIS_HOUR) == {"succeeded": 1}
    assert UsageRollup.objects.filter(granularity=Granularity.HOUR, cut=Cut.HUB).count() == 1


def test_while_another_process_sums_up_this_one_does_nothing():
    save_chat(NOW, **CLOSED)

    with psycopg.connect(conninfo()) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('llmhub.usage_rollup', 0))")
        meanwhile = roll_up(now=NOW)
        other.execute("SELECT pg_advisory_unlock(hashtextextended('llmhub.usage_rollup', 0))")
        afterwards = roll_up(now=NOW)

    assert (meanwhile, afterwards > 0) == (0, True)


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_count_each_chat_once():
    dice = random.Random(3)
    chats = Chat.objects.bulk_create([random_chat(dice) for _ in range(300)])

    with ThreadPoolExecutor(2) as workers:
        hours = [work.result() for work in [workers.submit(roll_up_in_a_thread) for _ in range(2)]]

    assert sum(hours) >= len({floor_hour(chat.started_at) for chat in chats})
    for cut in Cut:
        assert rolled(cut) == add_up(chats, cut, floor_hour)
        assert rolled(cut, Granularity.DAY) == add_up(chats, cut, floor_day)


def roll_up_in_a_thread() -> int:
    try:
        return roll_up(now=NOW) + roll_up(now=NOW)
    finally:
        connection.close()


def test_rebuilt_chats_are_summed_again(empty_ledger):
    chat_id, gone = new_chat_id(), save_chat(timezone.now() - 30 * HOUR, **CLOSED)
    append_events([make_intent(chat_id), make_outcome(chat_id)])
    usage_rollup()

    call_command("rebuild_chats", verbosity=0)
    assert hub_chats(floor_hour(gone.started_at)) == {"succeeded": 1}
    usage_rollup()

    assert hub_chats(floor_hour(gone.started_at)) == {}
    assert sum(row["chats"] for row in rolled(Cut.HUB, Granularity.DAY).values()) == 1


def test_a_chat_through_the_ledger_is_summed_with_what_the_ledger_says(empty_ledger):
    served, lost = new_chat_id(), new_chat_id()
    append_events([make_intent(served), make_outcome(served), make_intent(lost), make_lost(lost)])

    usage_rollup()

    row = UsageRollup.objects.get(granularity=Granularity.DAY, cut=Cut.MODEL, status=ChatStatus.SUCCEEDED)
    assert (row.provider, row.model_name, row.chats) == ("acme", "small", 1)
    assert (row.prompt_tokens, row.completion_tokens, row.cost_nano_usd, row.unpriced_chats) == (3, 5, 1200, 0)
    assert next(iter(rolled(Cut.ERROR)))[-2:] == ("lost", "")


def test_who_acts_is_noted_while_the_sums_are_made():
    save_chat(NOW, **CLOSED)

    with pghistory.context(actor="worker"):
        roll_up(now=NOW)

    assert hub_chats(THIS_HOUR) == {"succeeded": 1}


def test_sums_are_true_up_to_the_newest_run():
    assert rolled_at() is None

    roll_up(now=NOW - HOUR)
    roll_up(now=NOW)

    assert rolled_at() == NOW


def test_hours_are_kept_for_fifteen_days_and_days_for_ninety():
    save_chat(NOW, **CLOSED)
    roll_up(now=NOW)
    row_count = UsageRollup.objects.filter(granularity=Granularity.HOUR).count()

    assert delete_expired(now=THIS_HOUR + 15 * DAY) == 0
    assert delete_expired(now=THIS_HOUR + 15 * DAY + HOUR) == row_count
    assert hub_chats(floor_day(NOW), Granularity.DAY) == {"succeeded": 1}
    delete_expired(now=floor_day(NOW) + 90 * DAY + HOUR)
    assert (UsageRollup.objects.count(), RolledBucket.objects.count()) == (0, 0)


def test_names_as_long_as_the_ledger_keeps_them_are_summed():
    longest = "\U0001f600" * 512
    names = dict.fromkeys(NAMES, longest) | {"status": ChatStatus.FAILED}
    Chat.objects.bulk_create([make_chat(NOW, **names | {"provider": "", "model_name": ""} | {"application": "bot"})])

    roll_up(now=NOW)

    assert [key[-1] for key in rolled(Cut.ERROR)] == [longest]


def test_an_hour_is_found_by_the_index_of_page_ranges():
    Chat.objects.bulk_create([make_chat(NOW - n * timedelta(minutes=1), **CLOSED) for n in range(6000)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT brin_summarize_new_values('chat_by_start'::regclass)")
        cursor.execute("ANALYZE chat_chat")

    plan = Chat.objects.filter(started_at__gte=NOW - HOUR, started_at__lt=NOW).order_by().explain()

    assert "chat_by_start" in plan


def test_it_is_scheduled_every_minute():
    task = PeriodicTask.objects.get(task="chat.history.tasks.usage_rollup")

    assert (task.interval.every, task.interval.period, task.expire_seconds, task.enabled) == (60, "seconds", 60, True)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_percentile_lies_between_the_bounds_that_the_true_one_lies_between(seed, share):
    dice = random.Random(seed)
    times_ms = sorted(int(dice.lognormvariate(7, 1.5)) for _ in range(dice.randrange(1, 400)))
    counts = [0] * LATENCY_COUNTERS
    for time_ms in times_ms:
        counts[counter_of(time_ms)] += 1

    about_ms = percentile_ms(counts, share)

    true_ms = times_ms[min(int(share * len(times_ms)), len(times_ms) - 1)]
    lower = max((bound for bound in (0, *LATENCY_BOUNDS_MS) if bound <= true_ms), default=0)
    before = max((bound for bound in (0, *LATENCY_BOUNDS_MS) if bound < lower), default=0)
    assert before <= about_ms <= max(lower * 1.5 + 1, 10)


@pytest.mark.parametrize(
    ("counts", "about_ms"),
    [
        pytest.param([], None, id="no-counters"),
        pytest.param([0] * LATENCY_COUNTERS, None, id="no-chats"),
        pytest.param([2] + [0] * 28, 5.0, id="half-way-to-the-first-bound"),
        pytest.param([0, 2] + [0] * 27, 12.5, id="half-way-between-two"),
        pytest.param([0] * 28 + [1], float(LATENCY_BOUNDS_MS[-1]), id="longer-than-the-last"),
    ],
)
def test_half_of_the_chats_took_at_most(counts, about_ms):
    assert percentile_ms(counts, 0.5) == about_ms
