"""`make bench` and `make bench-peers`: measure, print the table, and write it where the environment says.

BENCH_JSON     a file for the rows, as JSON
BENCH_SAVE=1   keep the rows of `make bench` as the new baseline
BENCH_DOCS=1   put the table into docs/performance.md
BENCH_CASES    only these cases, comma-separated
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

from llmhub.embedded.child_processes import Guard
from llmhub.embedded.errors import EmbeddedError
from tests.bench import peers, report
from tests.bench.cases import CASES
from tests.bench.measure import BenchError, LoadProcess, Row, measure, running_load, summarise
from tests.bench.targets import Target, running_bare, running_direct, running_hub

SECONDS = 0.8
PACED_SECONDS = 2.4  # a stream takes half a second, most of it idle: CPU time, counted in steps of 10 ms, must add up
ROUNDS = 3
WARM_UP_S = 0.5
VERSIONS = ("llmhub", "Django", "uvicorn", "httpx", "aiohttp", "psycopg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Loads, as case → numbers of connections, for so many web processes."""

    processes: int
    loads: Mapping[str, tuple[int, ...]]


OWN_PLANS = (
    Plan(
        processes=1,
        loads={
            "chat": (1, 8, 32, 128, 512),
            "stream": (1, 32, 128, 512),
            "stream_paced": (32,),
            "body_1mb": (1, 8, 32, 128),
            "answer_1mb": (32,),
        },
    ),
    Plan(processes=2, loads={"chat": (32, 512), "stream": (32,), "body_1mb": (32,)}),
)
PEER_PLANS = (Plan(processes=1, loads={"chat": (1, 32, 128), "stream": (32,), "body_1mb": (32,)}),)


@dataclass(frozen=True, slots=True)
class Bench:
    guard: Guard
    load: LoadProcess
    folder: Path
    with_peers: bool

    def run(self) -> Iterator[Row]:
        """Errors: BenchError if the record of the hub is not what was answered."""
        with ExitStack() as stack:
            upstream = stack.enter_context(running_direct(self.guard, self.folder))
            others = (
                tuple(stack.enter_context(peers.running(self.guard, self.folder, upstream))) if self.with_peers else ()
            )
            for plan in PEER_PLANS if self.with_peers else OWN_PLANS:
                yield from self._run(chosen(plan), upstream, others)

    def _run(self, plan: Plan, upstream: Target, others: tuple[Target, ...]) -> Iterator[Row]:
        if not plan.loads:
            return
        with (
            running_bare(self.guard, self.folder, upstream, processes=plan.processes) as bare,
            running_hub(self.folder / "hub", upstream, processes=plan.processes) as hub,
        ):
            before, answered_before = hub.recorded(), self.load.answered["hub"]
            targets = (upstream, bare, hub.target, *others)
            for target, case in product(targets, plan.loads):
                self.load.run(target, case, 8, seconds=WARM_UP_S)
            for case, numbers in plan.loads.items():
                for connections in numbers:
                    yield from self._row(targets, case, connections, processes=plan.processes)
            answered = self.load.answered["hub"] - answered_before
            check_record(before, hub.recorded(), answered=answered)
            tell(f"The record holds intent and outcome of each of the {answered:,} chats that the hub answered.")

    def _row(self, targets: tuple[Target, ...], case: str, connections: int, *, processes: int) -> Iterator[Row]:
        began_at = time.monotonic()
        seconds = PACED_SECONDS if case == "stream_paced" else SECONDS
        found = measure(self.load, targets, case, connections, rounds=ROUNDS, seconds=seconds)
        rows = list(summarise(found, case, connections, processes=processes))
        shown = "   ".join(f"{row.target} {row.cpu_ms:.2f} ms {row.rps:,.0f}/s" for row in rows)
        took_s = time.monotonic() - began_at
        tell(f"{case}, {connections} connections, {processes} web: {shown}   ({took_s:.0f} s)")
        yield from rows


def chosen(plan: Plan) -> Plan:
    wanted = set(filter(None, os.environ.get("BENCH_CASES", "").split(","))) or set(CASES)
    if unknown := wanted - set(CASES):
        message = f"BENCH_CASES names {', '.join(sorted(unknown))}; there are {', '.join(CASES)}."
        raise BenchError(message)
    return Plan(processes=plan.processes, loads={case: n for case, n in plan.loads.items() if case in wanted})


def check_record(before: Mapping[str, int], after: Mapping[str, int], *, answered: int) -> None:
    """Compare what was answered with what the database has gained: nothing was measured with the record off."""
    grown = {name: number - before[name] for name, number in after.items()}
    if set(grown.values()) != {answered}:
        message = f"The hub answered {answered} chats, and recorded {grown}."
        raise BenchError(message)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    with_peers = arguments == ["peers"]
    try:
        if with_peers:
            peers.install()
        with (
            tempfile.TemporaryDirectory(prefix="llmhub-bench-", dir="/tmp") as folder,
            Guard() as guard,
            running_load() as load,
        ):
            Path(folder).chmod(0o711)  # so that PostgreSQL, as another user than root, keeps its data in it
            rows = list(Bench(guard, load, Path(folder), with_peers).run())
    except (BenchError, EmbeddedError) as error:
        tell(f"\n{error}")
        return 1
    publish(rows, with_peers=with_peers)
    return 0


def publish(rows: list[Row], *, with_peers: bool) -> None:
    versions = {name: version(name) for name in VERSIONS if name != "llmhub"} | (peers.VERSIONS if with_peers else {})
    about = report.about_this_run(versions)
    baseline = report.NO_BASELINE if with_peers else report.read_baseline()
    print(f"\n{report.report(rows, about, baseline)}")
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text(json.dumps(report.as_json(rows), indent=1) + "\n")
    if os.environ.get("BENCH_SAVE") == "1" and not with_peers:
        report.save_baseline(rows, about)
    if os.environ.get("BENCH_DOCS") == "1":
        text = report.report(rows, about, report.NO_BASELINE)
        report.write_docs(text, name="bench-peers" if with_peers else "bench")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
