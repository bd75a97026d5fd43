"""What the rows say: the budget, a table, the change against the saved baseline, JSON, and the table in the docs."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from timeit import timeit
from typing import Any

import psutil

from llmhub.embedded.options import ROOT
from tests.bench.measure import Row

BASELINE = Path(__file__).parent / "baseline.json"
DOCS = ROOT / "docs/performance.md"
BUDGET_CONNECTIONS = 32
CPU_BUDGET_MS = 1.5
RATIO_BUDGET = 2.0
LARGE_RATIO_BUDGET = 4.0
ADDITIONS = 2_000_000
PEER_FACTORS = {"litellm": 25, "portkey": 2}
GATEWAYS = ("hub", *PEER_FACTORS)

HEADINGS = (
    *("case", "connections", "processes", "target", "requests/s", "CPU ms", "CPU of bare", "PostgreSQL ms"),
    *("added p50 ms", "added p99 ms", "since baseline"),
)
BUDGET_HEADINGS = ("what", "measured", "wanted", "verdict")
TEXTS = frozenset({"case", "target", "what", "wanted", "verdict"})
"""Columns that hold words, not numbers."""


@dataclass(frozen=True, slots=True)
class Baseline:
    rows: Mapping[tuple[Any, ...], Mapping[str, Any]]
    about: Mapping[str, str]


NO_BASELINE = Baseline({}, {})


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def key_of(row: Row) -> tuple[Any, ...]:
    return (row.target, *row.load)


def about_this_run(versions: Mapping[str, str]) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {processor()}, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "speed": f"{1 / timeit('n += 1', 'n = 0', number=ADDITIONS) * ADDITIONS / 1e6:.0f} million additions a second",
        "Python": platform.python_version(),
        **versions,
    }


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except FileNotFoundError:
        text = ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def save_baseline(rows: Sequence[Row], about: Mapping[str, str], path: Path = BASELINE) -> None:
    path.write_text(json.dumps({"about": dict(about), "rows": as_json(rows)}, indent=1) + "\n")


def read_baseline(path: Path = BASELINE) -> Baseline:
    if not path.exists():
        return NO_BASELINE
    found = json.loads(path.read_text())
    names = ("target", "case", "connections", "processes")
    return Baseline({tuple(row[name] for name in names): row for row in found["rows"]}, found["about"])


def table(rows: Sequence[Row], baseline: Baseline) -> str:
    headings = HEADINGS if baseline.rows else HEADINGS[:-1]
    return markdown(headings, [cells(row, rows, baseline)[: len(headings)] for row in rows])


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown that is aligned for a terminal too."""
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    are_texts = [heading in TEXTS for heading in headings]

    def aligned(line: Sequence[str]) -> str:
        columns = zip(line, widths, are_texts, strict=True)
        return " | ".join(cell.ljust(width) if is_text else cell.rjust(width) for cell, width, is_text in columns)

    ends = zip(widths, are_texts, strict=True)
    rule = "|".join("-" * (width + 1) + ("-" if is_text else ":") for width, is_text in ends)
    return "\n".join([f"| {aligned(headings)} |", f"|{rule}|", *[f"| {aligned(line)} |" for line in lines]])


def cells(row: Row, rows: Iterable[Row], baseline: Baseline) -> tuple[str, ...]:
    bare = find(rows, "bare", row.load)
    before = baseline.rows.get(key_of(row))
    postgres_ms = row.helpers_cpu_ms.get("postgres")
    is_direct = row.target == "direct"
    return (
        row.case,
        str(row.connections),
        str(row.processes),
        row.target,
        f"{row.rps:,.0f}",
        f"{row.cpu_ms:.2f}",
        f"{row.cpu_ms / bare.cpu_ms:.2f} ×" if bare and row.target in GATEWAYS else "",
        "" if postgres_ms is None else f"{postgres_ms:.2f}",
        "" if is_direct else f"{row.added_p50_ms:.1f}",
        "" if is_direct else f"{row.added_p99_ms:.1f}",
        f"CPU {row.cpu_ms / before['cpu_ms'] - 1:+.0%}" if before and before["cpu_ms"] else "",
    )


def find(rows: Iterable[Row], target: str, load: tuple[str, int, int]) -> Row | None:
    return next((row for row in rows if row.target == target and row.load == load), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison. Shape: without `wanted` there is nothing to be met."""

    what: str
    measured: str
    wanted: str = ""
    is_met: bool = False

    @property
    def cells(self) -> tuple[str, str, str, str]:
        verdict = "met" if self.is_met else "NOT MET"
        return self.what, self.measured, self.wanted, verdict if self.wanted else ""


def verdicts(rows: Sequence[Row]) -> Iterator[Verdict]:
    """Yield one for each part of the budget that the rows can tell of."""
    if hub := find(rows, "hub", ("chat", BUDGET_CONNECTIONS, 1)):
        wanted, is_met = f"at most {CPU_BUDGET_MS} ms", hub.cpu_ms <= CPU_BUDGET_MS
        yield Verdict(f"CPU of a chat at {BUDGET_CONNECTIONS} connections", f"{hub.cpu_ms:.2f} ms", wanted, is_met)
    for case, what, budget in (
        ("chat", "a chat", RATIO_BUDGET),
        ("stream_paced", "a streamed chunk, each on its own", RATIO_BUDGET),
        ("stream", "a streamed chunk, at once", RATIO_BUDGET),
        ("body_1mb", "a body of 1 MB", LARGE_RATIO_BUDGET),
    ):
        hub, bare = (find(rows, target, (case, BUDGET_CONNECTIONS, 1)) for target in ("hub", "bare"))
        if hub and bare:
            ratio = hub.cpu_ms / bare.cpu_ms
            wanted, is_met = f"at most {budget:g} ×", ratio <= budget
            yield Verdict(f"CPU of {what}, beside the bare proxy's", f"{ratio:.2f} ×", wanted, is_met)
    yield from peer_verdicts(rows)


def peer_verdicts(rows: Sequence[Row]) -> Iterator[Verdict]:
    """Compare throughput. The budget is one of chats under load: with one connection there is only latency."""
    for row in rows:
        hub = find(rows, "hub", row.load)
        if row.target in PEER_FACTORS and hub:
            least, factor = PEER_FACTORS[row.target], hub.rps / row.rps
            has_budget = row.case == "chat" and row.connections >= BUDGET_CONNECTIONS
            yield Verdict(
                f"requests/s of {row.case} at {row.connections}, beside {row.target}'s",
                f"{factor:.1f} ×",
                f"at least {least} ×" if has_budget else "",
                is_met=factor >= least,
            )


def report(rows: Sequence[Row], about: Mapping[str, str], baseline: Baseline) -> str:
    """Return all that a reader needs, as Markdown: the budget first."""
    facts = " · ".join(f"{name}: {value}" for name, value in about.items())
    since = f"\n\nBaseline: {baseline.about['date']}, {baseline.about['machine']}" if baseline.rows else ""
    budget = markdown(BUDGET_HEADINGS, [verdict.cells for verdict in verdicts(rows)])
    return f"{facts}\n\n{budget}\n\n{table(rows, baseline)}{since}\n"


def write_docs(text: str, path: Path = DOCS, *, name: str = "bench") -> None:
    """Put the report between the markers of that name in the docs."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    if not after:
        message = f"{path} has no place for the table {name}"
        raise ValueError(message)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
