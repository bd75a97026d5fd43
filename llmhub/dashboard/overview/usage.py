"""Usage of a period, from rollups, and problems that need attention."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import BigIntegerField, Q, Sum, Value
from django.db.models.functions import Coalesce

from chat.history.models import LATENCY_COUNTERS, Chat, Cut, Granularity, UsageRollup, UsageRollupQuerySet
from chat.history.rollups import DAY, DAYS_MADE, HOUR, floor_day, floor_hour, percentile_ms, rolled_at
from chat.ledger.models import ChatStatus
from llmhub.access.models import ApiKey
from llmhub.operations.status import Status, provider_actions
from providers.models import Health

ERRORS = (ChatStatus.FAILED, ChatStatus.LOST, ChatStatus.REJECTED, ChatStatus.TRUNCATED)
BILLABLE = (ChatStatus.SUCCEEDED, ChatStatus.TRUNCATED, ChatStatus.CLIENT_DISCONNECTED)
"""Statuses of chats that a provider worked on: a missing cost is unknown, not zero."""

MAX_ROWS = 10
LATE_AFTER = timedelta(minutes=3)

NAMES = {
    Cut.PROVIDER: ("provider",),
    Cut.MODEL: ("provider", "model_name"),
    Cut.APPLICATION: ("application", "actor"),
}


@dataclass(frozen=True, slots=True)
class Period:
    """A displayed period: a number of buckets, the last one incomplete."""

    name: str
    label: str
    granularity: Granularity
    buckets: int

    @property
    def has_hours(self) -> bool:
        return self.granularity is Granularity.HOUR

    @property
    def step(self) -> timedelta:
        return HOUR if self.has_hours else DAY

    def begins(self, *, now: datetime) -> tuple[datetime, ...]:
        last = floor_hour(now) if self.has_hours else floor_day(now)
        return tuple(last - n * self.step for n in reversed(range(self.buckets)))


PERIODS = {
    "24h": Period("24h", "Last 24 hours", Granularity.HOUR, 24),
    "14d": Period("14d", "Last 14 days", Granularity.DAY, DAYS_MADE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """Totals of chats. Units: latencies are approximate, of succeeded chats."""

    chats: int = 0
    open_chats: int = 0
    errors: int = 0
    tokens: int = 0
    cost_nano_usd: int = 0
    unpriced_chats: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None

    @property
    def error_rate(self) -> float | None:
        closed = self.chats - self.open_chats
        return self.errors / closed if closed else None


@dataclass(frozen=True, slots=True)
class Bucket:
    at: datetime
    by_status: Mapping[str, int]
    usage: UsageTotals


@dataclass(frozen=True, slots=True)
class Row:
    """Shape: `names` are the columns of NAMES for the cut."""

    names: tuple[str, ...]
    usage: UsageTotals


@dataclass(frozen=True, slots=True)
class Table:
    """The largest rows of a cut. Shape: `rest` sums the `rest_rows` others."""

    top: tuple[Row, ...]
    rest: UsageTotals
    rest_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    error_type: str
    codes: tuple[str, ...]
    provider: str
    status: str
    chats: int


@dataclass(frozen=True, slots=True)
class Attention:
    provider_id: int
    provider: str
    message: str


@dataclass(frozen=True, slots=True)
class FirstSteps:
    has_healthy_provider: bool
    has_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    period: Period
    begins: tuple[datetime, ...]
    total: UsageTotals
    by_status: Mapping[str, int]
    buckets: tuple[Bucket, ...]
    tables: Mapping[Cut, Table]
    errors: tuple[ErrorCount, ...]
    rolled_at: datetime | None
    first_steps: FirstSteps | None

    def is_late(self, *, now: datetime) -> bool:
        return self.rolled_at is None or now - self.rolled_at > LATE_AFTER


def get_overview(period: Period, status: Status, *, now: datetime) -> Overview:
    """Load the dashboard's data. Runs a bounded number of queries, all on rollups.

    Shape: `first_steps` is None once there is a chat.
    """
    begins = period.begins(now=now)
    rollups = UsageRollup.objects.filter(granularity=period.granularity, at__gte=begins[0], at__lte=begins[-1])
    rows = list(rollups.filter(cut=Cut.HUB))
    total = _totals(rows)
    return Overview(
        period=period,
        begins=begins,
        total=total,
        by_status=_by_status(rows),
        buckets=tuple(_bucket(at, [row for row in rows if row.at == at]) for at in begins),
        tables={cut: _get_table(rollups.filter(cut=cut), names) for cut, names in NAMES.items()},
        errors=tuple(_top_errors(rollups.filter(cut=Cut.ERROR))),
        rolled_at=rolled_at(),
        first_steps=None if total.chats or Chat.objects.exists() else _first_steps(status, now=now),
    )


def attention(status: Status) -> Iterator[Attention]:
    """Yield the problems of providers, in order of failover."""
    for row in status.providers:
        for action in provider_actions(row):
            yield Attention(provider_id=row.pk, provider=row.name, message=action.message)


def _sum_where(column: str, **condition: Any) -> Any:
    return Coalesce(Sum(column, filter=Q(**condition)), Value(0), output_field=BigIntegerField())


def _totals(rows: Iterable[UsageRollup]) -> UsageTotals:
    rows = list(rows)
    counts = [row.latency_counts for row in rows if row.status == ChatStatus.SUCCEEDED]
    latencies = [sum(column) for column in zip(*counts, strict=True)]
    return UsageTotals(
        chats=sum(row.chats for row in rows),
        open_chats=sum(row.chats for row in rows if row.status == ChatStatus.STARTED),
        errors=sum(row.chats for row in rows if row.status in ERRORS),
        tokens=sum(row.prompt_tokens + row.completion_tokens for row in rows),
        cost_nano_usd=sum(row.cost_nano_usd for row in rows),
        unpriced_chats=sum(row.unpriced_chats for row in rows if row.status in BILLABLE),
        p50_ms=percentile_ms(latencies, 0.5),
        p95_ms=percentile_ms(latencies, 0.95),
    )


def _by_status(rows: Iterable[UsageRollup]) -> dict[str, int]:
    sums = dict.fromkeys(ChatStatus.values, 0)
    for row in rows:
        sums[row.status] += row.chats
    return sums


def _bucket(at: datetime, rows: list[UsageRollup]) -> Bucket:
    return Bucket(at=at, by_status=_by_status(rows), usage=_totals(rows))


SUMS: dict[str, Any] = {
    "open_chats": _sum_where("chats", status=ChatStatus.STARTED),
    "errors": _sum_where("chats", status__in=ERRORS),
    "tokens": Sum("prompt_tokens") + Sum("completion_tokens"),
    "cost": Sum("cost_nano_usd"),
    "unpriced": _sum_where("unpriced_chats", status__in=BILLABLE),
}
USAGE_FIELDS = ("chats", "open_chats", "errors", "tokens", "cost_nano_usd", "unpriced_chats")
LATENCY_SUMS: dict[str, Any] = {f"counter_{n}": Sum(f"latency_counts__{n}") for n in range(LATENCY_COUNTERS)}


def _get_table(rollups: UsageRollupQuerySet, names: tuple[str, ...]) -> Table:
    rows = rollups.values_list(*names).annotate(all_chats=Sum("chats"), **SUMS).order_by("-all_chats", *names)
    sums = [(row[: len(names)], row[len(names) :]) for row in rows]
    top, others = sums[:MAX_ROWS], [numbers for _, numbers in sums[MAX_ROWS:]]
    latencies = _latencies(rollups, names, [key for key, _ in top]) if top else {}
    return Table(
        top=tuple(Row(key, _usage(numbers, latencies.get(key, ()))) for key, numbers in top),
        rest=_usage([sum(column) for column in zip(*others, strict=True)]) if others else UsageTotals(),
        rest_rows=len(others),
    )


def _latencies(
    rollups: UsageRollupQuerySet, names: tuple[str, ...], keys: Iterable[tuple[str, ...]]
) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Return the latency counts of succeeded chats, by names; see `UsageRollup.latency_counts`."""
    rows = (
        rollups.filter(_match_any(names, keys), status=ChatStatus.SUCCEEDED)
        .values_list(*names)
        .annotate(**LATENCY_SUMS)
        .order_by()
    )
    return {row[: len(names)]: row[len(names) :] for row in rows}


def _usage(numbers: Sequence[int], latency_counts: Sequence[int] = ()) -> UsageTotals:
    return UsageTotals(
        **dict(zip(USAGE_FIELDS, numbers, strict=True)),
        p50_ms=percentile_ms(latency_counts, 0.5),
        p95_ms=percentile_ms(latency_counts, 0.95),
    )


def _top_errors(rollups: UsageRollupQuerySet) -> Iterator[ErrorCount]:
    names = ("error_type", "provider", "status")
    rows = list(rollups.values_list(*names).annotate(all_chats=Sum("chats")).order_by("-all_chats", *names)[:MAX_ROWS])
    if not rows:
        return
    matches = _match_any(names, [row[:3] for row in rows])
    codes: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for *key, code in rollups.filter(matches).exclude(error_code="").values_list(*names, "error_code").distinct():
        codes[tuple(key)].append(code)
    for error_type, provider, status, chats in rows:
        error_codes = tuple(sorted(codes[error_type, provider, status]))
        yield ErrorCount(error_type=error_type, codes=error_codes, provider=provider, status=status, chats=chats)


def _match_any(names: tuple[str, ...], keys: Iterable[tuple[str, ...]]) -> Q:
    return reduce(or_, (Q(**dict(zip(names, key, strict=True))) for key in keys))


def _first_steps(status: Status, *, now: datetime) -> FirstSteps:
    return FirstSteps(
        has_healthy_provider=any(row.enabled and row.health == Health.HEALTHY for row in status.providers),
        has_key=ApiKey.objects.live(now=now).exists(),
    )
