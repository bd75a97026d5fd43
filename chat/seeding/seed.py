"""Filling a hub with made-up chats, to see how it looks and how fast it is when it is full."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from chat.history.rollups import invalidate_rollups
from chat.seeding.history import PastEntry, PastLedger, SeedError
from chat.seeding.samples import APPLICATIONS, MAX_LATENCY_S, MadeUpChats, start_times
from llmhub.access.models import Application

BATCH_CHATS = 1000
FEW = 200
OPEN_AT_THE_END = 3
"""So many of the last chats have no outcome: a hub that runs closes them as lost after a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedPlan:
    """How many made-up chats there are to be in the end, and over what time up to `now`."""

    chats: int
    days: float
    now: datetime

    @property
    def since(self) -> datetime:
        return self.now - timedelta(days=self.days)

    @property
    def until(self) -> datetime:
        """Until when chats begin, so that even the longest has ended by now."""
        return self.now - timedelta(seconds=2 * MAX_LATENCY_S)


def seed(ledger: PastLedger, plan: SeedPlan, *, is_forced: bool = False) -> Iterator[int]:
    """Append the made-up chats that are missing; yield after each batch how many there are.

    Each batch is committed for itself: whoever stops in between leaves whole chats, and a next call goes on from there.
    However it ends, the sums of hours that were made before are made again.
    Errors: SeedError on a hub with real chats, unless forced.
    """
    seeded, others = ledger.count_chats()
    if others and not is_forced:
        raise SeedError(
            f"This hub holds {others:,} real chats. {max(plan.chats - seeded, 0):,} made-up ones would be loaded among "
            f"them, and nothing takes them out again. To load few: `make seed CHATS={FEW} FORCE=1`, or "
            f"`manage.py seed --chats {FEW} --force`."
        )
    if seeded >= plan.chats:
        return
    add_applications()
    ledger.open(plan.since)
    try:
        yield from _append(ledger, plan, skip=seeded)
    finally:
        invalidate_rollups()
    ledger.analyze()
    yield plan.chats


def _append(ledger: PastLedger, plan: SeedPlan, *, skip: int) -> Iterator[int]:
    """Append the chats that are missing, making up a batch while the last is written; yield how many there are."""
    seeded = skip
    with ThreadPoolExecutor(max_workers=1) as appending:
        waiting = None
        for count, batch in _batches(plan, skip=skip):
            if waiting:
                waiting.result()
                yield seeded
            waiting = appending.submit(ledger.append, batch)
            seeded += count
        if waiting:
            waiting.result()


def add_applications() -> None:
    """Add the applications whose chats are made up, switched off and without keys."""
    Application.objects.bulk_create(
        [
            Application(name=name, is_active=False, description="Made up, as its chats are: `manage.py seed`.")
            for name in APPLICATIONS
        ],
        ignore_conflicts=True,
    )


def _batches(plan: SeedPlan, *, skip: int) -> Iterator[tuple[int, list[PastEntry]]]:
    """Yield chats and how many: those of a batch begin when those of the batch before have ended."""
    rng = random.Random(skip)  # noqa: S311 (nothing here is secret)
    made_up = MadeUpChats(rng)
    starts = islice(start_times(plan.chats, since=plan.since, until=plan.until, rng=rng), skip, None)
    ended_at = plan.since
    left = plan.chats - skip
    while begun := list(islice(starts, BATCH_CHATS)):
        left -= len(begun)
        chats = [made_up.make(max(at, ended_at)) for at in begun]
        if not left:
            chats[-OPEN_AT_THE_END:] = [chat[:1] for chat in chats[-OPEN_AT_THE_END:]]
        batch = sorted((entry for chat in chats for entry in chat), key=lambda past: past.at)
        ended_at = batch[-1].at
        yield len(begun), batch
