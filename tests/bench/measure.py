"""Rounds of load, and what each of them cost: short ones, target by target in turn, and the median of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import psutil

from llmhub.embedded.options import ROOT
from tests.bench.cases import CASES
from tests.bench.load import Measured, Task
from tests.bench.targets import Processes, Target


class BenchError(Exception):
    """Something was answered wrongly, or not at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """`helpers_ms`: CPU time per request of those that work for the target, by role."""

    measured: Measured
    cpu_ms: float
    helpers_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target under one load. `added_…`: latency beyond that of the upstream itself under the same load."""

    target: str
    case: str
    connections: int
    processes: int
    rps: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    added_p50_ms: float
    added_p99_ms: float
    cpu_ms_per_chunk: float | None
    helpers_cpu_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def load(self) -> tuple[str, int, int]:
        return self.case, self.connections, self.processes


class LoadProcess:
    """The process that asks; `answered` counts every right answer that each target gave it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.answered: Counter[str] = Counter()

    def run(self, target: Target, case: str, connections: int, *, seconds: float) -> Round:
        """Errors: BenchError for a wrong answer, or none in time."""
        task = Task(port=target.port, case=case, connections=connections, seconds=seconds, headers=target.headers)
        self._tell(json.dumps(asdict(task)))
        self._hear(target)
        before_s, helpers_before_s = read_cpu(target)
        self._tell("go")
        measured = Measured(**self._hear(target))
        after_s, helpers_after_s = read_cpu(target)
        self.answered[target.name] += measured.answered
        per_request_ms = 1000 / measured.requests
        return Round(
            measured=measured,
            cpu_ms=(after_s - before_s) * per_request_ms,
            helpers_ms={
                role: (helpers_after_s[role] - spent_s) * per_request_ms for role, spent_s in helpers_before_s.items()
            },
        )

    def _tell(self, line: str) -> None:
        print(line, file=self._process.stdin, flush=True)

    def _hear(self, target: Target) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("The process that asks has ended.")
        found = json.loads(line)
        if "error" in found:
            message = f"{target.name}: {found['error']}"
            raise BenchError(message)
        return found


@contextmanager
def running_load() -> Iterator[LoadProcess]:
    argv = [sys.executable, "-m", "tests.bench.load"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield LoadProcess(process)
        finally:
            process.kill()


def read_cpu(target: Target) -> tuple[float, dict[str, float]]:
    return cpu_s(target.served_by), {role: cpu_s(processes) for role, processes in target.helped_by.items()}


def cpu_s(processes: Processes) -> float:
    """Return the CPU time of processes up to now, user and system, with that of their children that have ended."""
    spent_s = 0.0
    for process in processes():
        with suppress(psutil.NoSuchProcess):
            spent_s += sum(process.cpu_times()[:4])
    return spent_s


def measure(
    load: LoadProcess, targets: Sequence[Target], case: str, connections: int, *, rounds: int, seconds: float
) -> dict[str, list[Round]]:
    """Ask the targets in turn, so that what changes on the machine meanwhile meets all of them."""
    found: dict[str, list[Round]] = {target.name: [] for target in targets}
    for number in range(rounds):
        for target in targets if number % 2 == 0 else reversed(targets):
            found[target.name].append(load.run(target, case, connections, seconds=seconds))
    return found


def summarise(found: Mapping[str, Sequence[Round]], case: str, connections: int, *, processes: int) -> Iterator[Row]:
    """Yield one row per target; without one named "direct" nothing is known of what a target adds."""
    direct = found["direct"]
    for name, rounds in found.items():
        cpu_ms = median(r.cpu_ms for r in rounds)
        chunks = CASES[case].chunks
        yield Row(
            target=name,
            case=case if processes == 1 else f"{case}_{processes}_processes",
            connections=connections,
            processes=processes,
            rps=median(r.measured.requests / r.measured.elapsed_s for r in rounds),
            cpu_ms=cpu_ms,
            p50_ms=middle(rounds, "p50_ms"),
            p99_ms=middle(rounds, "p99_ms"),
            first_p50_ms=middle(rounds, "first_p50_ms"),
            first_p99_ms=middle(rounds, "first_p99_ms"),
            added_p50_ms=middle(rounds, "p50_ms") - middle(direct, "p50_ms"),
            added_p99_ms=middle(rounds, "p99_ms") - middle(direct, "p99_ms"),
            cpu_ms_per_chunk=cpu_ms / chunks if chunks else None,
            helpers_cpu_ms={role: median(r.helpers_ms[role] for r in rounds) for role in rounds[0].helpers_ms},
        )


def middle(rounds: Iterable[Round], name: str) -> float:
    return median(getattr(r.measured, name) for r in rounds)
