"""Prometheus metrics of the ledger's writers, over all web processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

Lane = Literal["small", "large"]

ENTRIES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500)
SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

DOWN = Gauge(
    "llmhub_ledger_down",
    "Web processes that cannot write the record of chats now.",
    ["lane"],
    multiprocess_mode="livesum",
)
QUEUED_ENTRIES = Gauge(
    "llmhub_ledger_queued_entries", "Entries that wait to be committed.", ["lane"], multiprocess_mode="livesum"
)
QUEUED_BYTES = Gauge(
    "llmhub_ledger_queued_bytes",
    "Size of the entries that wait to be committed.",
    ["lane"],
    multiprocess_mode="livesum",
)
LATE_ENTRIES = Gauge(
    "llmhub_ledger_late_entries",
    "Outcomes that wait for the database to come back; nobody waits for them.",
    ["lane"],
    multiprocess_mode="livesum",
)
BATCH_ENTRIES = Histogram("llmhub_ledger_batch_entries", "Entries committed together.", ["lane"], buckets=ENTRIES)
COMMIT = Histogram("llmhub_ledger_commit_seconds", "How long one commit took.", ["lane"], buckets=SECONDS)
GIVEN_UP = Counter(
    "llmhub_ledger_entries_given_up",
    "Entries that will never be written: refused by the database, too many late ones, or not back before the stop.",
    ["reason"],
)
for reason in ("refused", "too_many", "stopped"):
    GIVEN_UP.labels(reason)  # exported as 0 from the start: an alert sees no increase in a series that begins at 1


@dataclass(frozen=True, slots=True)
class LaneMetrics:
    """The metrics of one lane."""

    down: Gauge
    queued_entries: Gauge
    queued_bytes: Gauge
    late_entries: Gauge
    batch_entries: Histogram
    commit: Histogram


def of_lane(lane: Lane) -> LaneMetrics:
    return LaneMetrics(
        down=DOWN.labels(lane),
        queued_entries=QUEUED_ENTRIES.labels(lane),
        queued_bytes=QUEUED_BYTES.labels(lane),
        late_entries=LATE_ENTRIES.labels(lane),
        batch_entries=BATCH_ENTRIES.labels(lane),
        commit=COMMIT.labels(lane),
    )
