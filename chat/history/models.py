"""Searchable rows of chats, derived from the ledger, and their hourly and daily rollups."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Self
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import connection, models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Cast
from psycopg import sql

from chat.ledger.models import OPENING_KINDS, ChatStatus, LedgerEvent

# A chat's id is made by the web process, its times by the database; no two clocks in use are a day apart.
CLOCK_SLACK = timedelta(days=1)


CHEAP_CHATS = 20_000
"""As many chats as an ordered scan can skip within a few milliseconds."""

DEPTH = 8
"""The factor by which an offset extends the scan: sorting all matches would take longer still."""

# Prompt and completion together.
TOKENS = F("prompt_tokens") + F("completion_tokens")

NAMES = sql.SQL("""
    WITH RECURSIVE found (name) AS (
      (SELECT {column} FROM chat_chat WHERE {column} <> '' ORDER BY {column} LIMIT 1)
      UNION ALL
      SELECT (SELECT {column} FROM chat_chat WHERE {column} <> '' AND {column} > name ORDER BY {column} LIMIT 1)
      FROM found WHERE name IS NOT NULL
    )
    SELECT name FROM found WHERE name IS NOT NULL LIMIT %s
""")


class ChatQuerySet(models.QuerySet["Chat"]):
    def between(self, *, since: datetime | None = None, until: datetime | None = None) -> Self:
        """Keep chats started at or after `since` and before `until`.

        Ids begin with a time, so bounds on them let the primary key, read newest first, end the search early.
        """
        chats = self
        if since is not None:
            chats = chats.filter(started_at__gte=since, pk__gte=first_id_at(since, shift=-CLOCK_SLACK))
        if until is not None:
            chats = chats.filter(started_at__lt=until, pk__lt=first_id_at(until, shift=CLOCK_SLACK))
        return chats

    def with_cost(self, *, least_usd: Decimal | None = None, most_usd: Decimal | None = None) -> Self:
        """Keep chats whose cost is known and within these bounds."""
        chats = self
        if least_usd is not None:
            chats = chats.filter(cost_nano_usd__gte=int(least_usd.scaleb(9)))
        if most_usd is not None:
            chats = chats.filter(cost_nano_usd__lte=int(most_usd.scaleb(9)))
        return chats

    def with_tokens(self, *, least_tokens: int | None = None, most_tokens: int | None = None) -> Self:
        """Keep chats whose tokens, prompt and completion together, are known and within these bounds."""
        chats = self if least_tokens is None and most_tokens is None else self.alias(tokens=TOKENS)
        if least_tokens is not None:
            chats = chats.filter(tokens__gte=least_tokens)
        if most_tokens is not None:
            chats = chats.filter(tokens__lte=most_tokens)
        return chats

    def read_page(self, period_chats: Self, *, skip: int = 0, most: int, is_newest_first: bool = True) -> list[Chat]:
        """Return a page in order of time; `period_chats` holds all chats within the same bounds of time.

        An ordered scan of the primary key skips every chat that does not match; where few match, that is slow, and
        the planner cannot know. So the scan stops at a cheap depth; if the page is not full by then, the matches of
        the other indexes are sorted. Runs two or three queries.
        """
        sign, bound = ("-", "pk__gte") if is_newest_first else ("", "pk__lte")
        edge = list(period_chats.order_by(f"{sign}pk").values_list("pk", flat=True)[CHEAP_CHATS + DEPTH * skip :][:1])
        near = self.filter(**{bound: edge[0]}) if edge else self
        page = list(near.order_by(f"{sign}pk")[skip : skip + most])
        if len(page) == most or not edge:
            return page
        id_text = Cast("pk", models.TextField())
        return list(self.order_by(id_text.desc() if is_newest_first else id_text)[skip : skip + most])

    def names(self, column: str, *, most: int) -> tuple[str, ...]:
        """Return the distinct values of an indexed column in order, by a loose index scan."""
        with connection.cursor() as cursor:
            cursor.execute(NAMES.format(column=sql.Identifier(column)).as_string(), (most,))
            return tuple(name for (name,) in cursor.fetchall())

    def without_events(self) -> Self:
        """Keep rows without an opening event in the ledger."""
        opening = LedgerEvent.objects.filter(chat_id=OuterRef("pk"), kind__in=OPENING_KINDS)
        return self.filter(~Exists(opening))


class Chat(models.Model):
    """One chat: a searchable row derived from the ledger, which `rebuild_chats` derives again.

    Shape: unknown text is empty; unknown numbers are null.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    status = models.CharField(choices=ChatStatus, default=ChatStatus.STARTED)
    application = models.CharField(blank=True)
    api_key = models.CharField("API key", blank=True, help_text="The key's prefix.")
    actor = models.CharField(blank=True, help_text="The admin user who chatted without a key.")
    end_user = models.CharField(blank=True)
    conversation = models.CharField(blank=True)
    address = models.CharField(blank=True)
    dialect = models.CharField(blank=True)
    is_stream = models.BooleanField("streamed", default=False)
    asked_provider = models.CharField(blank=True)
    asked_model = models.CharField(blank=True)
    provider = models.CharField(blank=True)
    model_name = models.CharField("model", blank=True)
    attempts = models.JSONField(default=list)
    prompt_tokens = models.BigIntegerField(null=True)
    completion_tokens = models.BigIntegerField(null=True)
    cached_tokens = models.BigIntegerField(null=True)
    reasoning_tokens = models.BigIntegerField(null=True)
    usage_source = models.CharField(blank=True)
    cost_nano_usd = models.BigIntegerField(null=True)
    finish_reason = models.CharField(blank=True)
    native_finish_reason = models.CharField(blank=True)
    error_type = models.CharField(blank=True)
    error_code = models.CharField(blank=True)
    http_status = models.IntegerField(null=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    latency_ms = models.BigIntegerField(null=True)
    first_token_ms = models.BigIntegerField(null=True)
    overhead_us = models.BigIntegerField(null=True)
    writer_id = models.UUIDField()
    intent_id = models.UUIDField()
    outcome_id = models.UUIDField(null=True)

    objects = ChatQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        permissions = (("use_chat", "Can chat through the hub"),)
        constraints = (models.CheckConstraint(condition=Q(status__in=ChatStatus.values), name="chat_status_is_known"),)
        # The lists show the newest first, which the primary key serves: its ids begin with a time. An index with a
        # condition is left alone by the first of a chat's two writes, before the value is known.
        indexes = (
            # chats of one application, newest first
            models.Index(fields=("application", "id"), name="chat_by_application"),
            # chats served by one provider, newest first
            models.Index(fields=("provider", "id"), name="chat_by_provider", condition=~Q(provider="")),
            # chats served by one model, newest first
            models.Index(fields=("model_name", "id"), name="chat_by_model", condition=~Q(model_name="")),
            # chats of one end user, newest first
            models.Index(fields=("end_user", "id"), name="chat_by_end_user", condition=~Q(end_user="")),
            # one conversation in order
            models.Index(fields=("conversation", "id"), name="chat_by_conversation", condition=~Q(conversation="")),
            # chats made with one key, newest first
            models.Index(fields=("api_key", "id"), name="chat_by_api_key", condition=~Q(api_key="")),
            # what went wrong, newest first; succeeded chats are the rule, so the primary key finds a page of them
            models.Index(
                fields=("status", "id"),
                name="chat_by_status",
                condition=~Q(status__in=(ChatStatus.STARTED, ChatStatus.SUCCEEDED)),
            ),
            # chats with one kind of error, and those with one code, newest first
            models.Index(fields=("error_type", "id"), name="chat_by_error", condition=~Q(error_type="")),
            models.Index(fields=("error_code", "id"), name="chat_by_error_code", condition=~Q(error_code="")),
            # what one signed-in user asked, newest first
            models.Index(fields=("actor", "id"), name="chat_by_actor", condition=~Q(actor="")),
            # chats whose cost is within bounds that few chats meet; where many do, the primary key finds a page of them
            models.Index(fields=("cost_nano_usd",), name="chat_by_cost", condition=Q(cost_nano_usd__isnull=False)),
            # chats whose tokens are within bounds that few chats meet
            models.Index(TOKENS, name="chat_by_tokens", condition=Q(prompt_tokens__isnull=False)),
            # all of an hour; pages fill in the order of time, so an index of page ranges does, at no cost to a chat
            BrinIndex(fields=("started_at",), name="chat_by_start", pages_per_range=32, autosummarize=True),
            # the reaper: all that are open
            models.Index(fields=("started_at",), name="chat_open", condition=Q(status=ChatStatus.STARTED)),
        )

    def __str__(self) -> str:
        return str(self.id)

    @property
    def cost_usd(self) -> Decimal | None:
        return None if self.cost_nano_usd is None else Decimal(self.cost_nano_usd).scaleb(-9)

    def events(self) -> models.QuerySet[LedgerEvent]:
        """The chat's events in the ledger, in order."""
        return LedgerEvent.objects.filter(chat_id=self.pk).order_by("id")


class Granularity(models.TextChoices):
    HOUR = "hour"
    DAY = "day"


class Cut(models.TextChoices):
    """The dimension of a rollup, beside the status."""

    HUB = "hub"
    PROVIDER = "provider"
    MODEL = "model"
    APPLICATION = "application"
    ERROR = "error"


LATENCY_BOUNDS_MS = tuple(round(10 * 1.5**n) for n in range(28))
LATENCY_COUNTERS = len(LATENCY_BOUNDS_MS) + 1


class UsageRollupQuerySet(models.QuerySet["UsageRollup"]):
    def of(self, granularity: Granularity, cut: Cut, *, since: datetime) -> Self:
        return self.filter(granularity=granularity, cut=cut, at__gte=since)


class UsageRollup(models.Model):
    """Sums over the chats that started in one hour or day (UTC); derived by `chat.history.rollups`.

    Shape: each chat counts once in every cut, in `error` only if it has one. Columns that a cut does not group by are
    empty. `cost_nano_usd` excludes the `unpriced_chats`, whose cost is unknown. `latency_counts` is a histogram: one
    bucket below each of LATENCY_BOUNDS_MS, and a last one for longer chats.
    """

    granularity = models.CharField(choices=Granularity)
    cut = models.CharField(choices=Cut)
    at = models.DateTimeField()
    provider = models.CharField(blank=True)
    model_name = models.CharField(blank=True)
    application = models.CharField(blank=True)
    actor = models.CharField(blank=True)
    status = models.CharField(choices=ChatStatus)
    error_type = models.CharField(blank=True)
    error_code = models.CharField(blank=True)
    chats = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    cost_nano_usd = models.BigIntegerField()
    unpriced_chats = models.BigIntegerField()
    latency_counts = ArrayField(models.IntegerField(), size=LATENCY_COUNTERS)

    objects = UsageRollupQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        # one cut of a period: the dashboard; of one hour or day: what replaces it
        indexes = (models.Index(fields=("granularity", "cut", "at"), name="rollup_by_time"),)

    def __str__(self) -> str:
        return f"{self.cut} in the {self.granularity} from {self.at:%Y-%m-%d %H:%M} UTC"


class RolledBucket(models.Model):
    """An hour or a day whose rollups exist, and when they were computed."""

    granularity = models.CharField(choices=Granularity)
    at = models.DateTimeField()
    rolled_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("granularity", "at"), name="rolled_bucket_is_one"),)

    def __str__(self) -> str:
        return f"{self.granularity} from {self.at:%Y-%m-%d %H:%M} UTC"


def first_id_at(at: datetime, *, shift: timedelta = timedelta()) -> UUID:
    """Return the lowest UUIDv7 of a time, shifted and clamped to the range of UUIDv7."""
    milliseconds = (at.timestamp() + shift.total_seconds()) * 1000
    return UUID(int=min(max(int(milliseconds), 0), 2**48 - 1) << 80)
