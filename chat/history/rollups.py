"""Hourly and daily rollups of chats, recomputed until the chats no longer change."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import accumulate, groupby, takewhile
from typing import LiteralString

from django.db import connection, transaction
from django.db.models import Count, F
from django.db.models.functions import TruncHour
from psycopg import sql

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
from chat.ledger.models import ChatStatus

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS_MADE = 14
HOURS_RETENTION = timedelta(days=DAYS_MADE + 1)
DAYS_RETENTION = timedelta(days=90)
MAX_S = 30.0
SETTLED_AFTER = timedelta(minutes=5)
"""How long after its end an hour may still gain chats."""

CHANGING = (ChatStatus.STARTED, ChatStatus.LOST)
"""Statuses that a chat may still leave."""

_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('llmhub.usage_rollup', 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('llmhub.usage_rollup', 0))"
_EMPTY_HOURS = """
SELECT at FROM unnest(%s::timestamptz[]) AS at
WHERE NOT EXISTS (SELECT FROM chat_chat WHERE started_at >= at AND started_at < at + interval '1 hour')
"""
_COLUMNS = sql.SQL("""granularity, cut, at, provider, model_name, application, actor, status, error_type, error_code,
  chats, prompt_tokens, completion_tokens, cost_nano_usd, unpriced_chats, latency_counts""")
_TIMED = "coalesce(sum(timed) FILTER (WHERE counter = {}), 0)"
_COUNTED = "sum(latency_counts[{}])"


def _each_counter(expression: LiteralString, *, first: int) -> sql.Composed:
    numbers = range(first, first + LATENCY_COUNTERS)
    return sql.SQL(", ").join(sql.SQL(expression).format(sql.Literal(n)) for n in numbers)


_ROLL_HOUR = (
    sql.SQL("""
INSERT INTO chat_usagerollup ({columns})
SELECT 'hour', cut, %(since)s, coalesce(provider, ''), coalesce(model_name, ''), coalesce(application, ''),
  coalesce(actor, ''), status, coalesce(error_type, ''), coalesce(error_code, ''),
  sum(chats), sum(prompt_tokens), sum(completion_tokens), sum(cost_nano_usd), sum(unpriced_chats),
  ARRAY[{latency_counts}]
FROM (
  SELECT
    CASE GROUPING(provider, model_name, application, error_type)
      WHEN b'1111'::int THEN 'hub' WHEN b'0111'::int THEN 'provider' WHEN b'0011'::int THEN 'model'
      WHEN b'1101'::int THEN 'application' ELSE 'error'
    END AS cut,
    provider, model_name, application, actor, status, error_type, error_code, counter,
    count(*) AS chats, coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(completion_tokens), 0) AS completion_tokens, coalesce(sum(cost_nano_usd), 0) AS cost_nano_usd,
    count(*) FILTER (WHERE cost_nano_usd IS NULL) AS unpriced_chats, count(latency_ms) AS timed
  FROM (
    SELECT *, width_bucket(latency_ms, %(bounds)s::bigint[]) AS counter
    FROM chat_chat WHERE started_at >= %(since)s AND started_at < %(until)s
  ) AS chat
  GROUP BY GROUPING SETS (
    (status, counter),
    (provider, status, counter),
    (provider, model_name, status, counter),
    (application, actor, status, counter),
    (provider, status, error_type, error_code, counter)
  )
) AS part
WHERE cut <> 'error' OR error_type <> ''
GROUP BY cut, provider, model_name, application, actor, status, error_type, error_code
""")
    .format(columns=_COLUMNS, latency_counts=_each_counter(_TIMED, first=0))
    .as_string()
)

_ROLL_DAY = (
    sql.SQL("""
INSERT INTO chat_usagerollup ({columns})
SELECT 'day', cut, %(since)s, provider, model_name, application, actor, status, error_type, error_code,
  sum(chats), sum(prompt_tokens), sum(completion_tokens), sum(cost_nano_usd), sum(unpriced_chats),
  ARRAY[{latency_counts}]
FROM chat_usagerollup
WHERE granularity = 'hour' AND cut = ANY (%(cuts)s) AND at >= %(since)s AND at < %(until)s
GROUP BY cut, provider, model_name, application, actor, status, error_type, error_code
""")
    .format(columns=_COLUMNS, latency_counts=_each_counter(_COUNTED, first=1))
    .as_string()
)


def roll_up(*, now: datetime, max_s: float = MAX_S) -> int:
    """Roll up the hours that may have changed, newest first, and their days; return how many hours.

    The next run continues after `max_s`. A run does nothing while another process holds the lock.
    """
    deadline_s = time.monotonic() + max_s
    count = 0
    with _advisory_lock() as is_acquired:
        if not is_acquired:
            return 0
        _record_empty_hours(now=now)
        for day, hours in groupby(stale_hours(now=now), key=floor_day):
            count_before = count
            for hour in takewhile(lambda _: time.monotonic() <= deadline_s, hours):
                _roll(Granularity.HOUR, hour, now=now)
                count += 1
            if count > count_before:
                _roll(Granularity.DAY, day, now=now)
        for day in _stale_days():
            _roll(Granularity.DAY, day, now=now)
        delete_expired(now=now)
    return count


@contextmanager
def _advisory_lock() -> Iterator[bool]:
    """Hold the advisory lock of rollups; yield whether this process got it."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)
        is_acquired = bool(cursor.fetchone()[0])
        try:
            yield is_acquired
        finally:
            if is_acquired:
                cursor.execute(_UNLOCK)


def invalidate_rollups() -> None:
    """Have every rollup computed again; the old ones stay until then."""
    RolledBucket.objects.all().delete()


def rolled_at() -> datetime | None:
    """Return when the newest hour was rolled up. Runs one query."""
    newest = RolledBucket.objects.filter(granularity=Granularity.HOUR).order_by("-at").first()
    return newest.rolled_at if newest else None


def stale_hours(*, now: datetime) -> list[datetime]:
    """Return the hours to roll up, newest first: the last two, those not settled, those with changed chats."""
    this_hour = floor_hour(now)
    hours = _hours(now=now)
    changed_hours = _changed_hours(min(hours)) & hours
    return sorted((hours - _rolled_hours()) | {this_hour, this_hour - HOUR} | changed_hours, reverse=True)


def _hours(*, now: datetime) -> set[datetime]:
    """Return the hours of the last two weeks, the current one included."""
    this_hour = floor_hour(now)
    since = floor_day(now) - (DAYS_MADE - 1) * DAY
    return {this_hour - n * HOUR for n in range((this_hour - since) // HOUR + 1)}


def _rolled_hours() -> set[datetime]:
    """Return the hours that were rolled up after they had settled."""
    settled = RolledBucket.objects.filter(granularity=Granularity.HOUR, rolled_at__gte=F("at") + HOUR + SETTLED_AFTER)
    return set(settled.values_list("at", flat=True))


@transaction.atomic
def _record_empty_hours(*, now: datetime) -> None:
    """Mark the past hours without chats as rolled up, in one query instead of one each."""
    past = _hours(now=now) - _rolled_hours() - {floor_hour(now), floor_hour(now) - HOUR}
    if not past:
        return
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY_HOURS, [sorted(past)])
        empty = [at for (at,) in cursor.fetchall()]
    UsageRollup.objects.filter(granularity=Granularity.HOUR, cut__in=Cut.values, at__in=empty).delete()
    RolledBucket.objects.bulk_create(
        [RolledBucket(granularity=Granularity.HOUR, at=at, rolled_at=now) for at in empty],
        update_conflicts=True,
        unique_fields=["granularity", "at"],
        update_fields=["rolled_at"],
    )


def _changed_hours(since: datetime) -> set[datetime]:
    """Return the hours whose counts of open or lost chats differ from their rollups."""
    first_id = first_id_at(since, shift=-DAY)
    actual = {
        (row["hour"], status.value, row["chats"])
        for status in CHANGING
        for row in Chat.objects.filter(status=status, started_at__gte=since, pk__gte=first_id)
        .order_by()
        .annotate(hour=TruncHour("started_at", tzinfo=UTC))
        .values("hour")
        .annotate(chats=Count("pk"))
    }
    summed = UsageRollup.objects.of(Granularity.HOUR, Cut.HUB, since=since).filter(status__in=CHANGING)
    return {hour for hour, _, _ in actual ^ set(summed.values_list("at", "status", "chats"))}


def _stale_days() -> Iterable[datetime]:
    """Return the days older than the rollup of one of their hours."""
    days = dict(RolledBucket.objects.filter(granularity=Granularity.DAY).values_list("at", "rolled_at"))
    hours = RolledBucket.objects.filter(granularity=Granularity.HOUR).values_list("at", "rolled_at")
    return sorted(
        {floor_day(at) for at, rolled_at in hours if days.get(floor_day(at), at - DAY) < rolled_at}, reverse=True
    )


@transaction.atomic
def _roll(granularity: Granularity, at: datetime, *, now: datetime) -> None:
    """Replace the rollups of one hour or day."""
    until = at + (HOUR if granularity is Granularity.HOUR else DAY)
    with connection.cursor() as cursor:
        UsageRollup.objects.filter(granularity=granularity, cut__in=Cut.values, at=at).delete()
        cursor.execute(
            _ROLL_HOUR if granularity is Granularity.HOUR else _ROLL_DAY,
            {"since": at, "until": until, "bounds": list(LATENCY_BOUNDS_MS), "cuts": Cut.values},
        )
    RolledBucket.objects.bulk_create(
        [RolledBucket(granularity=granularity, at=at, rolled_at=now)],
        update_conflicts=True,
        unique_fields=["granularity", "at"],
        update_fields=["rolled_at"],
    )


def delete_expired(*, now: datetime) -> int:
    """Delete rollups past their retention; return how many rows."""
    deleted = 0
    for granularity, retention in ((Granularity.HOUR, HOURS_RETENTION), (Granularity.DAY, DAYS_RETENTION)):
        expired = {"granularity": granularity, "at__lt": now - retention}
        if RolledBucket.objects.filter(**expired).exists():
            deleted += UsageRollup.objects.filter(cut__in=Cut.values, **expired).delete()[0]
            RolledBucket.objects.filter(**expired).delete()
    return deleted


def percentile_ms(counts: Sequence[int], share: float) -> float | None:
    """Estimate the latency percentile at `share`; None without chats.

    Shape: `counts` as in `UsageRollup.latency_counts`. Interpolates between two bounds, each 1.5 times the one below;
    clamps to the last bound.
    """
    cumulative = list(accumulate(counts))
    if not cumulative or not cumulative[-1]:
        return None
    target = share * cumulative[-1]
    counter = bisect_left(cumulative, target)
    if counter == len(LATENCY_BOUNDS_MS):
        return float(LATENCY_BOUNDS_MS[-1])
    lower = LATENCY_BOUNDS_MS[counter - 1] if counter else 0
    within = (target - (cumulative[counter] - counts[counter])) / counts[counter]
    return lower + within * (LATENCY_BOUNDS_MS[counter] - lower)


def floor_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def floor_day(at: datetime) -> datetime:
    return floor_hour(at).replace(hour=0)
