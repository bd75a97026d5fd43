"""Format log lines for people. Free of Django, as the launcher formats lines too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_STANDARD_FIELDS = ("timestamp", "level", "logger", "event", "process", "pid", "exception")
_ALARMING_LEVEL = re.compile(r"(?<!%)\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b")


def format_line(line: str) -> str:
    """Format a JSON line as text; return any other line unchanged."""
    fields = _find_fields(line)
    return format_fields(fields) if fields else line


def is_alarming(line: str) -> bool:
    """Whether a line has level WARNING or above; a line without fields, whether it names such a level."""
    fields = _find_fields(line)
    return bool(_ALARMING_LEVEL.search(str(fields["level"]).upper() if fields else line))


def format_fields(fields: Mapping[str, Any]) -> str:
    """Format the fields of a line for a terminal.

    Continuation lines are indented, so that no text can forge a line. Control characters are escaped.
    """
    extra = " ".join(f"{name}={value}" for name, value in fields.items() if name not in _STANDARD_FIELDS)
    headline = (
        f"{fields['timestamp'][:19].replace('T', ' ')}Z {fields['level'].upper()} {fields['logger']}: {fields['event']}"
    )
    lines = [f"{headline} [{extra}]" if extra else headline, *_trace(fields.get("exception", ()))]
    return "\n    ".join(map(_escape_controls, "\n".join(lines).splitlines()))


def _escape_controls(text: str) -> str:
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else c.encode("unicode_escape").decode() for c in text])


def _find_fields(line: str) -> Mapping[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    is_ours = all(isinstance(fields.get(name), str) for name in ("timestamp", "level", "logger", "event"))
    return fields if is_ours else None


def _trace(exceptions: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for exception in exceptions:
        message = exception.get("message")
        lines.append(f"{exception['type']}: {message}" if message else exception["type"])
        lines.extend(f"  {frame}" for frame in exception["frames"])
    return lines
