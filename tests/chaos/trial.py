"""One fault under load: what happens to callers meanwhile, and whether the record kept its promises."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from llmhub.embedded.child_processes import read_tail
from tests.chaos.hub import Hub
from tests.chaos.load import Fire
from tests.chaos.promises import Evidence, Told, Window, violations
from tests.live import until

RECOVERY_S = 45.0
CLOSING_S = 30.0
REFUSALS = 10
SHOWN = 10


def chosen_seed() -> int:
    """Return the seed that CHAOS_SEED names, or a new one."""
    return int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))


@dataclass
class Trial:
    """Everything from the first caller to the verdict; callers are at work all the time."""

    name: str
    hub: Hub
    fire: Fire
    random: random.Random
    refusing: list[Window] = field(default_factory=list)
    under_fire: int = 0
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        self._mark = self.fire.mark()
        self._began_at_s = time.time()

    @property
    def told(self) -> tuple[Told, ...]:
        return self.fire.since(self._mark)[1]

    def note_fire(self) -> None:
        """Count the chats that are under way just when something is done to the hub."""
        self.under_fire += self.fire.under_way

    def until_told(self, count: int) -> None:
        """Wait until so many more callers have heard the end."""
        self._until_more(count, lambda _: True)

    def until_recovered(self, *, count: int = 20) -> None:
        """Wait until so many chats have succeeded that were asked for from now on."""
        now = time.time()
        self._until_more(count, lambda told: told.is_whole and told.asked_at_s > now)

    def until_refused(self, *, count: int = REFUSALS) -> None:
        self._until_more(count, lambda told: told.is_refused)

    def _until_more(self, count: int, is_meant: Callable[[Told], bool]) -> None:
        heard = len(self.fire.told)
        until(lambda: sum(map(is_meant, self.fire.told[heard:])) >= count, within_s=RECOVERY_S)

    def begin(self, kind: str, *, count: int = 1) -> set[str]:
        """Begin so many more streams, and wait for the first words of each; return their markers."""
        markers = {self.fire.ask(kind) for _ in range(count)}
        until(lambda: markers <= self.fire.begun, within_s=RECOVERY_S)
        return markers

    @contextmanager
    def in_refusal(self, *, count: int = REFUSALS) -> Iterator[None]:
        """Hold that from now on the database takes no record, until so many callers have heard so."""
        began = time.time()
        yield
        self.until_refused(count=count)
        self.refusing.append(Window(began, time.time()))

    def verdict(self) -> list[str]:
        """End the load, let the hub close what it can and the reaper the rest; return the promises broken."""
        self.fire.stop()
        with suppress(AssertionError):  # who is left open is named below
            until(lambda: not self.hub.has_open_chats_of_the_living(), within_s=CLOSING_S)
        self.hub.clerk.do("reap")
        rows = self.hub.read_rows()
        self.hub.clerk.do("rebuild")
        hits, told = self.fire.since(self._mark)
        events, seats = self.hub.read_ledger()
        self.evidence = Evidence(
            hits=hits,
            told=told,
            events=events,
            seats=seats,
            rows=rows,
            rebuilt=self.hub.read_rows(),
            began_at_s=self._began_at_s,
            killed=self.hub.killed,
            refusing=tuple(self.refusing),
        )
        broken = violations(self.evidence)
        print("", f"{self.name}: {self.summary(broken)}", *broken[:SHOWN], sep="\n", flush=True)
        if broken:
            print(read_tail(self.hub.web.command.log))
        return broken

    def summary(self, broken: list[str]) -> str:
        assert self.evidence is not None
        statuses = Counter(self.status_of(told) for told in self.evidence.told)
        heard = Counter(heard_by(told) for told in self.evidence.told)
        unsure = sum(t.is_refused and self.status_of(t) == "succeeded" for t in self.evidence.told)
        return (
            f"{len(self.evidence.told)} chats, {self.under_fire} under fire, {len(self.evidence.hits)} hits; heard "
            f"{dict(heard)}; recorded {dict(statuses)}; refused but recorded as succeeded {unsure}; "
            f"{len(broken)} violations"
        )

    def status_of(self, told: Told) -> str:
        assert self.evidence is not None
        opening = self.evidence.openings.get(told.marker)
        return self.evidence.statuses.get(str(opening.chat_id), "no row") if opening else "not recorded"


def heard_by(told: Told) -> str:
    if told.is_whole or told.status is None:
        return "whole" if told.is_whole else "nothing"
    return f"{told.status} {told.error_code or 'in part'}"


def set_read_only(hub: Hub, *, is_on: bool) -> None:
    """Switch what every session, those under way too, may do; return once they have heard."""
    with hub.connect() as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if is_on else 'off'}")
        with hub.connect() as witness:
            connection.execute("SELECT pg_reload_conf()")
            until(lambda: _shows(witness, "on" if is_on else "off"), within_s=RECOVERY_S)


def _shows(witness: psycopg.Connection, value: str) -> bool:
    return witness.execute("SHOW default_transaction_read_only").fetchone() == (value,)
