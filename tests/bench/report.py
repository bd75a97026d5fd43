"""What the rows say: a table, the budget, the change against the saved baseline, JSON, and the table in the docs."""

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
ADDITIONS = 2_000_000
PEER_FACTORS = {"litellm": 25, "portkey": 2}
GATEWAYS = ("hub", *PEER_FACTORS)

HEADINGS = (
    *("case", "connections", "processes", "target", "requests/s", "CPU ms", "CPU µs/chunk", "CPU of bare"),
    *("p50 ms", "p99 ms", "first p50 ms", "added p50 ms", "added p99 ms", "PostgreSQL ms", "since baseline"),
)


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
    """Return the rows as a table in Markdown that is aligned for a terminal too."""
    headings = HEADINGS if baseline.rows else HEADINGS[:-1]
    lines = [headings, *[cells(row, rows, baseline)[: len(headings)] for row in rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["| " + " | ".join(aligned(line, widths)) + " |" for line in lines]
    rule = "|" + "|".join(
        "-" * (width + 1) + (":" if is_number(column) else "-") for column, width in enumerate(widths)
    )
    return "\n".join([shown[0], rule + "|", *shown[1:]])


def aligned(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
        yield cell.rjust(width) if is_number(column) else cell.ljust(width)


def is_number(column: int) -> bool:
    return HEADINGS[column] not in ("case", "target")


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
        "" if row.cpu_ms_per_chunk is None else f"{row.cpu_ms_per_chunk * 1000:.0f}",
        f"{row.cpu_ms / bare.cpu_ms:.2f} ×" if bare and row.target in GATEWAYS else "",
        f"{row.p50_ms:.1f}",
        f"{row.p99_ms:.1f}",
        "" if row.cpu_ms_per_chunk is None else f"{row.first_p50_ms:.1f}",
        "" if is_direct else f"{row.added_p50_ms:.1f}",
        "" if is_direct else f"{row.added_p99_ms:.1f}",
        "" if postgres_ms is None else f"{postgres_ms:.2f}",
        f"CPU {row.cpu_ms / before['cpu_ms'] - 1:+.0%}" if before and before["cpu_ms"] else "",
    )


def find(rows: Iterable[Row], target: str, load: tuple[str, int, int]) -> Row | None:
    return next((row for row in rows if row.target == target and row.load == load), None)


def verdicts(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line for each part of the budget that the rows can tell of."""
    if hub := find(rows, "hub", ("chat", BUDGET_CONNECTIONS, 1)):
        worst = max((row for row in rows if (row.target, row.case) == ("hub", "chat")), key=lambda row: row.cpu_ms)
        text = f"CPU of a chat: {hub.cpu_ms:.2f} ms of {CPU_BUDGET_MS} ms at {BUDGET_CONNECTIONS} connections"
        yield verdict(f"{text} ({worst.cpu_ms:.2f} ms at {worst.connections})", is_met=hub.cpu_ms <= CPU_BUDGET_MS)
    for case, what in (
        ("chat", "a chat"),
        ("stream_paced", "a streamed chunk, each on its own"),
        ("stream", "a streamed chunk, at once"),
    ):
        hub, bare = (find(rows, target, (case, BUDGET_CONNECTIONS, 1)) for target in ("hub", "bare"))
        if hub and bare:
            ratio = hub.cpu_ms / bare.cpu_ms
            text = f"CPU of {what}: {ratio:.2f} times the bare proxy's, of {RATIO_BUDGET:g} times"
            yield verdict(text, is_met=ratio <= RATIO_BUDGET)
    yield from peer_verdicts(rows)


def peer_verdicts(rows: Sequence[Row]) -> Iterator[str]:
    """Compare throughput. The budget is one of chats under load: with one connection there is only latency."""
    for row in rows:
        hub = find(rows, "hub", row.load)
        if row.target in PEER_FACTORS and hub:
            wanted, factor = PEER_FACTORS[row.target], hub.rps / row.rps
            text = f"requests/s of {row.case} at {row.connections} connections: {factor:.1f} times {row.target}'s"
            if row.case == "chat" and row.connections >= BUDGET_CONNECTIONS:
                yield verdict(f"{text}, of {wanted} times", is_met=factor >= wanted)
            else:
                yield f"         {text}"


def verdict(text: str, *, is_met: bool) -> str:
    return f"{'met    ' if is_met else 'NOT MET'}  {text}"


def report(rows: Sequence[Row], about: Mapping[str, str], baseline: Baseline) -> str:
    """Return all that a reader needs, as Markdown."""
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    since = f"Baseline: {baseline.about['date']}, {baseline.about['machine']}\n\n" if baseline.rows else ""
    budget = "\n".join(f"- {line}" for line in verdicts(rows))
    return f"{facts}\n\n{table(rows, baseline)}\n\n{since}{budget}\n"


def write_docs(text: str, path: Path = DOCS, *, name: str = "bench") -> None:
    """Put the report between the markers of that name in the docs."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    if not after:
        message = f"{path} has no place for the table {name}"
        raise ValueError(message)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
