"""The form of every line of the log: JSON, or words where a person reads along.

Lines hold no bodies: what is logged names things, exceptions come without local variables, and their words only
where these cannot be content. Scrubbing what looks like a secret is the net below that, not the rule.
"""

from __future__ import annotations

import logging
import logging.config
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

import psycopg
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import utils as django_errors
from structlog.contextvars import bind_contextvars, merge_contextvars, unbind_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

from llmhub.runtime.errors import HubError
from llmhub.runtime.log_lines import in_words
from llmhub.runtime.process_role import process_role

LogFormat = Literal["", "json", "console"]

ROOT = f"{Path(__file__).resolve().parent.parent}/"
ORDER = ("timestamp", "level", "logger", "event", "request_id", "task", "task_id", "process", "pid", "exception")
MAX_FRAMES = 40
MAX_CAUSES = 8
MAX_CHARS = 4_000
MAX_ITEMS = 50
SPOKEN = (
    HubError,
    ImproperlyConfigured,
    OSError,
    ImportError,
    AttributeError,
    NameError,
    psycopg.OperationalError,
    django_errors.OperationalError,
)
"""Exceptions whose words may be logged: others quote what they were given."""

SECRET = re.compile(
    r"(?P<name>\b(?:bearer|basic|x-api-key|api[_-]?key|password|secret|token)\b[\"']?\s*+(?:[:=]\s*+)?[\"']?)[^\s\"',;&]{8,}+"
    r"|(?P<scheme>\b[a-z][a-z0-9+]{0,30}://)[^\s/@:]*+:[^\s/@]*+(?=@)"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|lh)[-_][\w-]{8,}+"
    r"|\bAIza[\w-]{20,}+|\bgAAAA[\w=-]{20,}+"
    r"|(?<![\w-])(?>[\w-]*?\beyJ)[\w-]{10,}+\.[\w.-]++",
    re.IGNORECASE,
)
"""What looks like a secret. No part is read twice, so that no text costs more than its length."""

SCRUBBED = "***"


def formatter(log_format: LogFormat | None = None) -> ProcessorFormatter:
    """Return what renders every line.

    Shape: None asks the environment: the first process of several that serve has no settings.
    """
    chosen = log_format if log_format is not None else os.environ.get("LLMHUB_LOG_FORMAT")
    is_json = chosen == "json" or (chosen != "console" and not sys.stderr.isatty())
    return ProcessorFormatter(
        processors=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_process(process_role(sys.argv)),
            merge_contextvars,
            cut_quotations,
            add_exception,
            add_left_out,
            ProcessorFormatter.remove_processors_meta,
            cut_to(2 * MAX_CHARS),  # at its end a secret may be cut in two, and look like none
            scrub,
            cut_to(MAX_CHARS),
            structlog.processors.JSONRenderer(default=str) if is_json else _render_words,
        ]
    )


def _render_words(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return in_words(event)


def add_process(role: str) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = role
        event["pid"] = os.getpid()
        return event

    return add


def cut_quotations(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut off what libraries append to their messages: an exception with its words, what a task returned, line ends."""
    event["event"] = event["event"].rstrip()
    if event["logger"] == "celery.app.trace":
        event["event"] = event["event"].partition(": ")[0]
    elif event["logger"] == "asyncio":
        event["event"] = event["event"].partition("\n")[0]
    return event


def add_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    exc_info = event.pop("exc_info", None)
    if isinstance(exc_info, tuple) and exc_info[1] is not None:
        event["exception"] = list(islice(_traces(exc_info[1]), MAX_CAUSES))
    return event


def _traces(error: BaseException | None, *, seen: frozenset[int] = frozenset()) -> Iterator[dict[str, Any]]:
    """Yield an exception, then what led to it.

    Shape: `{"type", "message"?, "frames": ["file:line function", …]}`, the frame where it was raised last.
    """
    while error is not None and id(error) not in seen:
        seen |= {id(error)}
        steps = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
        kind = type(error)
        message = {"message": str(error)} if isinstance(error, SPOKEN) else {}
        yield {
            "type": kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}",
            **message,
            "frames": [f"{s.filename.removeprefix(ROOT)}:{s.lineno} {s.name}" for s in steps[-MAX_FRAMES:]],
        }
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _traces(part, seen=seen)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def cut_to(max_chars: int) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def cut(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Bound every text of the line, and how many of them it has."""
        return {name: _cut(event[name], max_chars) for name in islice(event, MAX_ITEMS)}

    return cut


def _cut(value: Any, max_chars: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_cut(item, max_chars) for item in value[:MAX_ITEMS]]
    if isinstance(value, dict):
        return {name: _cut(value[name], max_chars) for name in islice(value, MAX_ITEMS)}
    text = str(value)
    return text if len(text) <= max_chars else f"{text[:max_chars]} …"


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the line in order, and blot out what looks like a secret in it."""
    return {name: _scrubbed(event[name]) for name in sorted(event, key=_place)}


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return SECRET.sub(lambda found: f"{found['name'] or found['scheme'] or ''}{SCRUBBED}", value)
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    if isinstance(value, dict):
        return {name: _scrubbed(item) for name, item in value.items()}
    return value


def note_task(task_id: str, task: Any, **_: object) -> None:
    bind_contextvars(task=task.name, task_id=task_id)


def forget_task(**_: object) -> None:
    unbind_contextvars("task", "task_id")


def configure(config: dict[str, Any]) -> None:
    """Set up logging as Django's settings say; what Python's `warnings` says becomes lines too.

    Such a warning is for who writes the code, so it is no warning of the log: `up` would repeat it.
    """
    logging.config.dictConfig(config)
    warnings.showwarning = _log_warning


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001  (Python's signature)
    line: str | None = None,  # noqa: ARG001  (likewise)
) -> None:
    logging.getLogger("py.warnings").info("%s: %s (%s:%d)", category.__name__, message, filename, lineno)


def keep_logging(**_: object) -> None:
    """Tell Celery, by being connected to its signal, that logging is set up already."""


@dataclass(slots=True)
class _Window:
    """The lines of one place in the code, within one stretch of time."""

    until_s: float
    lines: int = 0
    left_out: int = 0


class FloodFilter(logging.Filter):
    """Lets only so many warnings and errors of one place in the code through; the next after them tells how many more.

    By the place and not by the text, which may be a stranger's.
    """

    def __init__(self, *, lines: int = 50, every_s: float = 10.0, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lines = lines
        self._every_s = every_s
        self._now = now
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, str, int], _Window] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        with self._lock:
            window, left_out = self._window_of(record)
            if window.lines >= self._lines:
                window.left_out += 1
                return False
            window.lines += 1
        if left_out:
            record.left_out = left_out
        return True

    def _window_of(self, record: logging.LogRecord) -> tuple[_Window, int]:
        """Return the window that a line falls into, and how many lines the one before left out if it is new."""
        place, now = (record.name, record.pathname, record.lineno), self._now()
        known = self._windows.get(place)
        if known is not None and now < known.until_s:
            return known, 0
        fresh = self._windows[place] = _Window(until_s=now + self._every_s)
        return fresh, known.left_out if known else 0


def add_left_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if left_out := getattr(event.get("_record"), "left_out", 0):
        event["left_out"] = left_out
    return event
