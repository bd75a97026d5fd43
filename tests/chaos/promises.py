"""What the record promises, checked against what the provider was asked, what callers got and what the ledger holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

LOST = "lost"
REFUSAL = (503, "record_unavailable")
OPENING = ("intent", "void")


@dataclass(frozen=True, slots=True)
class Hit:
    """The provider was asked. Units: `at_s` in seconds of this machine's clock, when the head of the request came."""

    marker: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one caller got. Shape: `status` is None where the connection broke before there was one."""

    marker: str
    asked_at_s: float
    ended_at_s: float
    status: int | None = None
    error_code: str | None = None
    chat_id: str | None = None
    text: str = ""
    is_whole: bool = False

    @property
    def is_refused(self) -> bool:
        return (self.status, self.error_code) == REFUSAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a chat, and when the database committed it."""

    id: str
    kind: str
    chat_id: str | None
    writer_id: str
    writer_seq: int
    committed_at_s: float
    status: str = ""
    error_code: str | None = None
    body: str = ""


@dataclass(frozen=True, slots=True)
class Seat:
    writer_id: str
    pid: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Row:
    """A chat as the table of chats has it."""

    id: str
    status: str
    outcome_id: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """A span in which the database surely took no record."""

    from_s: float
    to_s: float

    def holds(self, at_s: float) -> bool:
        return self.from_s < at_s < self.to_s


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known after a trial.

    Shape: `killed` are the ids of processes that got no chance to close their chats.
    Units: `began_at_s` in seconds of this machine's clock; what earlier chats came to is not asked again.
    """

    hits: tuple[Hit, ...]
    told: tuple[Told, ...]
    events: tuple[Event, ...]
    seats: tuple[Seat, ...]
    rows: frozenset[Row]
    rebuilt: frozenset[Row]
    began_at_s: float = 0.0
    killed: frozenset[int] = frozenset()
    refusing: tuple[Window, ...] = ()

    @cached_property
    def markers(self) -> frozenset[str]:
        return frozenset(chain((hit.marker for hit in self.hits), (told.marker for told in self.told)))

    @cached_property
    def openings(self) -> Mapping[str, Event]:
        """The event that opened each chat of this trial, by the marker in what it recorded."""
        return {marker: event for event in self.events if event.kind in OPENING for marker in self._markers_in(event)}

    @cached_property
    def outcomes(self) -> Mapping[str, list[Event]]:
        found = defaultdict(list)
        for event in self.events:
            if event.kind == "outcome":
                found[str(event.chat_id)].append(event)
        return found

    @cached_property
    def stories(self) -> Mapping[str, list[str]]:
        """The kinds of each chat's events; `lost` for an outcome that says no more."""
        found = defaultdict(list)
        for event in self.events:
            if event.committed_at_s >= self.began_at_s and event.kind in (*OPENING, "outcome"):
                found[str(event.chat_id)].append(LOST if event.status == LOST else event.kind)
        return found

    @cached_property
    def statuses(self) -> Mapping[str, str]:
        return {row.id: row.status for row in self.rows}

    def _markers_in(self, event: Event) -> Iterator[str]:
        yield from self.markers.intersection(event.body.replace('"', " ").split())


def violations(evidence: Evidence) -> list[str]:
    """Return each broken promise in words; none for a record as it should be."""
    rules = (
        unrecorded_hits,
        unrecorded_answers,
        wrong_numbers,
        wrong_stories,
        wrong_rows,
        open_chats,
        wrongly_lost_chats,
        passed_while_refusing,
    )
    return list(chain.from_iterable(rule(evidence) for rule in rules))


def unrecorded_hits(evidence: Evidence) -> Iterator[str]:
    """The provider is asked only for what the ledger has committed before."""
    for hit in evidence.hits:
        opening = evidence.openings.get(hit.marker)
        if opening is None or opening.kind != "intent":
            yield f"{hit.marker}: the provider was asked, and there is no intent"
        elif opening.committed_at_s >= hit.at_s:
            late_ms = (opening.committed_at_s - hit.at_s) * 1000
            yield f"{hit.marker}: the provider was asked {late_ms:.1f} ms before the intent was committed"


def unrecorded_answers(evidence: Evidence) -> Iterator[str]:
    """Who has a whole answer has what the ledger says."""
    for told in evidence.told:
        if not told.is_whole:
            continue
        opening = evidence.openings.get(told.marker)
        if opening is None or opening.chat_id != told.chat_id:
            yield f"{told.marker}: a whole answer was given, and no chat of that id is recorded"
        elif not any(_tells(outcome, told) for outcome in evidence.outcomes[str(told.chat_id)]):
            yield f"{told.marker}: a whole answer was given, and no outcome holds it"
        elif evidence.statuses.get(str(told.chat_id)) != "succeeded":
            yield f"{told.marker}: a whole answer was given, and the table of chats does not say so"


def _tells(outcome: Event, told: Told) -> bool:
    return outcome.status == "succeeded" and bool(told.text) and told.text in outcome.body


def wrong_numbers(evidence: Evidence) -> Iterator[str]:
    """Each writer counts 1, 2, 3 … as far as its seat says."""
    numbers = defaultdict(list)
    for event in evidence.events:
        numbers[event.writer_id].append(event.writer_seq)
    last = {seat.writer_id: seat.last_seq for seat in evidence.seats}
    for writer_id in numbers.keys() | last.keys():
        expected = list(range(1, last.get(writer_id, 0) + 1))
        if sorted(numbers[writer_id]) != expected:
            strange = Counter(numbers[writer_id]) - Counter(expected)
            missing = Counter(expected) - Counter(numbers[writer_id])
            yield f"writer {writer_id}: numbers missing {sorted(missing)[:5]}, too many {sorted(strange)[:5]}"


def wrong_stories(evidence: Evidence) -> Iterator[str]:
    """A chat is opened once and ends once; a true outcome may follow when a chat was given up as lost."""
    for chat_id, story in evidence.stories.items():
        count = Counter(story)
        ends = count["outcome"]
        is_sound = (
            count["intent"] + count["void"] == 1
            and max(ends, count[LOST]) <= 1
            and not (count["void"] and ends + count[LOST])
        )
        if not is_sound:
            yield f"chat {chat_id}: its events are {', '.join(story)}"


def wrong_rows(evidence: Evidence) -> Iterator[str]:
    """The table of chats is what the ledger makes it again."""
    for row in evidence.rows ^ evidence.rebuilt:
        where = "only before" if row in evidence.rows else "only after"
        yield f"chat {row.id}: {row.status} stands {where} the chats were derived again"


def open_chats(evidence: Evidence) -> Iterator[str]:
    """No chat is left open once the reaper has been there."""
    for row in evidence.rows:
        if row.status == "started" and row.id in evidence.stories:
            yield f"chat {row.id}: left open"
    for chat_id, story in evidence.stories.items():
        if story == ["intent"]:
            yield f"chat {chat_id}: an intent without an outcome"


def wrongly_lost_chats(evidence: Evidence) -> Iterator[str]:
    """A chat is lost only with the process that had it."""
    pids = {seat.writer_id: seat.pid for seat in evidence.seats}
    writers = {event.chat_id: event.writer_id for event in evidence.events if event.kind == "intent"}
    for row in evidence.rows:
        if row.id not in evidence.stories or row.status != LOST:
            continue
        if pids.get(writers.get(row.id, "")) not in evidence.killed:
            yield f"chat {row.id}: lost, though its process was not killed"


def passed_while_refusing(evidence: Evidence) -> Iterator[str]:
    """Who asks while the record cannot be written is told so, and the provider is left alone."""
    hits = defaultdict(list)
    for hit in evidence.hits:
        hits[hit.marker].append(hit.at_s)
    for told, window in _asked_in_windows(evidence.told, evidence.refusing):
        if any(window.holds(at_s) for at_s in hits[told.marker]):
            yield f"{told.marker}: the provider was asked while the record could not be written"
        if window.holds(told.ended_at_s) and told.status is not None and not told.is_refused:
            yield f"{told.marker}: told {told.status} {told.error_code} while the record could not be written"


def _asked_in_windows(told: Iterable[Told], windows: Iterable[Window]) -> Iterator[tuple[Told, Window]]:
    return ((one, window) for one in told for window in windows if window.holds(one.asked_at_s))
