"""What was counted, as a table, as JSON, and function by function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.hops.chats import CHUNKS, Hops
from tests.hops.counting import Calls, files_of, functions_of


def as_json(hops: Hops) -> dict[str, Any]:
    of_chunk = {"calls_per_chunk": calls_per_chunk(hops)}
    return {"whole": _numbers(hops.whole), "stream": _numbers(hops.stream) | of_chunk}


def calls_per_chunk(hops: Hops) -> float:
    return round((hops.longer_stream.total() - hops.stream.total()) / CHUNKS, 2)


def _numbers(calls: Calls) -> dict[str, int]:
    return {"calls": calls.total(), "functions": len(functions_of(calls)), "files": len(files_of(calls))}


def table(hops: Hops) -> str:
    rows = {"a whole chat": hops.whole, f"a stream of {CHUNKS} chunks": hops.stream}
    lines = [f"{'':<24}{'calls':>8}{'functions':>12}{'files':>8}"]
    for name, calls in rows.items():
        numbers = _numbers(calls)
        lines.append(f"{name:<24}{numbers['calls']:>8,}{numbers['functions']:>12}{numbers['files']:>8}")
    lines.append(f"{'each further chunk':<24}{calls_per_chunk(hops):>8g}")
    return "\n".join(lines)


def trace(hops: Hops) -> str:
    """List the calls by file: of a whole chat, of a stream, and for each further chunk."""
    parts = {
        "A whole chat": _by_file(hops.whole, 1),
        f"A stream of {CHUNKS} chunks": _by_file(hops.stream, 1),
        "Each further chunk": _by_file(hops.of_more_chunks, CHUNKS),
    }
    return "\n\n".join("\n".join((f"{title}:", *lines)) for title, lines in parts.items())


def _by_file(calls: Calls, divisor: int) -> Iterator[str]:
    files: defaultdict[str, Calls] = defaultdict(Calls)
    for function, count in calls.items():
        files[function.file][function.name] += count
    for file, names in sorted(files.items()):
        yield f"{names.total() / divisor:>10,g}  {file}"
        yield from (f"{count / divisor:>10,g}      {name}" for name, count in names.most_common())
