"""A line of a log as a person reads it. Knows nothing of Django, as who starts the hub reads such lines too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_SAID = ("timestamp", "level", "logger", "event", "process", "pid", "exception")
_TROUBLE = re.compile(r"(?<!%)\b(WARNING|ERROR|CRITICAL|FATAL|PANIC)\b")


def readable(line: str) -> str:
    """Return a line of JSON in words, and any other as it is."""
    fields = _find_fields(line)
    return in_words(fields) if fields else line


def speaks_of_trouble(line: str) -> bool:
    """Whether a line is of the level WARNING or above; of a line that has no level, whether it names one."""
    fields = _find_fields(line)
    return bool(_TROUBLE.search(str(fields["level"]).upper() if fields else line))


def in_words(fields: Mapping[str, Any]) -> str:
    """Return what a line says, for a terminal.

    What continues it is indented, so that no text can pass for a line of its own; what would steer a screen is spelt.
    """
    more = " ".join(f"{name}={value}" for name, value in fields.items() if name not in _SAID)
    said = (
        f"{fields['timestamp'][:19].replace('T', ' ')}Z {fields['level'].upper()} {fields['logger']}: {fields['event']}"
    )
    lines = [f"{said} [{more}]" if more else said, *_trace(fields.get("exception", ()))]
    return "\n    ".join(map(_spelt, "\n".join(lines).splitlines()))


def _spelt(text: str) -> str:
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
    found = []
    for exception in exceptions:
        message = exception.get("message")
        found.append(f"{exception['type']}: {message}" if message else exception["type"])
        found.extend(f"  {frame}" for frame in exception["frames"])
    return found
