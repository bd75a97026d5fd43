"""Logging setup: every line is JSON, or text on a terminal.

Lines hold no bodies. Exceptions come without local variables, and with messages only if these cannot hold content.
Scrubbing lookalikes of secrets is a safety net, not the rule.
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
from llmhub.runtime.log_lines import format_fields
from llmhub.runtime.process_role import process_role

LogFormat = Literal["", "json", "console"]

ROOT = f"{Path(__file__).resolve().parent.parent}/"
ORDER = ("timestamp", "level", "logger", "event", "request_id", "task", "task_id", "process", "pid", "exception")
MAX_FRAMES = 40
MAX_CAUSES = 8
MAX_CHARS = 4_000
MAX_ITEMS = 50
LOGGABLE_ERRORS = (
    HubError,
    ImproperlyConfigured,
    OSError,
    ImportError,
    AttributeError,
    NameError,
    psycopg.OperationalError,
    django_errors.OperationalError,
)
"""Exceptions whose messages may be logged: others may quote their input."""

SECRET = re.compile(
    r"(?P<name>\b(?:bearer|basic|x-api-key|api[_-]?key|password|secret|token)\b[\"']?\s*+(?:[:=]\s*+)?[\"']?)[^\s\"',;&]{8,}+"
    r"|(?P<scheme>\b[a-z][a-z0-9+]{0,30}://)[^\s/@:]*+:[^\s/@]*+(?=@)"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|lh)[-_][\w-]{8,}+"
    r"|\bAIza[\w-]{20,}+|\bgAAAA[\w=-]{20,}+"
    r"|(?<![\w-])(?>[\w-]*?\beyJ)[\w-]{10,}+\.[\w.-]++",
    re.IGNORECASE,
)
"""Lookalikes of secrets. The pattern never backtracks, so that its cost is linear."""

SCRUBBED = "***"


def formatter(log_format: LogFormat | None = None) -> ProcessorFormatter:
    """Return the formatter of every line.

    Shape: None reads the environment, as the first of several serving processes has no settings.
    """
    format_name = log_format if log_format is not None else os.environ.get("LLMHUB_LOG_FORMAT")
    is_json = format_name == "json" or (format_name != "console" and not sys.stderr.isatty())
    return ProcessorFormatter(
        processors=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_process(process_role(sys.argv)),
            merge_contextvars,
            drop_quoted_content,
            add_exception,
            add_left_out,
            ProcessorFormatter.remove_processors_meta,
            truncate_to(2 * MAX_CHARS),  # a secret cut in two at the end would escape the scrubber
            scrub,
            truncate_to(MAX_CHARS),
            structlog.processors.JSONRenderer(default=str) if is_json else _render_text,
        ]
    )


def _render_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return format_fields(event)


def add_process(role: str) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = role
        event["pid"] = os.getpid()
        return event

    return add


def drop_quoted_content(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Remove what libraries append to messages: exception texts, results of tasks, line ends."""
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


def _traces(error: BaseException | None, *, visited: frozenset[int] = frozenset()) -> Iterator[dict[str, Any]]:
    """Yield an exception, then its causes.

    Shape: `{"type", "message"?, "frames": ["file:line function", …]}`, innermost frame last.
    """
    while error is not None and id(error) not in visited:
        visited |= {id(error)}
        steps = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
        kind = type(error)
        message = {"message": str(error)} if isinstance(error, LOGGABLE_ERRORS) else {}
        yield {
            "type": kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}",
            **message,
            "frames": [f"{s.filename.removeprefix(ROOT)}:{s.lineno} {s.name}" for s in steps[-MAX_FRAMES:]],
        }
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _traces(inner, visited=visited)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def truncate_to(max_chars: int) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def truncate(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Bound the length and number of the line's values."""
        return {name: _truncate(event[name], max_chars) for name in islice(event, MAX_ITEMS)}

    return truncate


def _truncate(value: Any, max_chars: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_truncate(item, max_chars) for item in value[:MAX_ITEMS]]
    if isinstance(value, dict):
        return {name: _truncate(value[name], max_chars) for name in islice(value, MAX_ITEMS)}
    text = str(value)
    return text if len(text) <= max_chars else f"{text[:max_chars]} …"


def scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Order the fields, and mask lookalikes of secrets."""
    return {name: _scrubbed(event[name]) for name in sorted(event, key=_field_order)}


def _field_order(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return SECRET.sub(lambda match: f"{match['name'] or match['scheme'] or ''}{SCRUBBED}", value)
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
    """Set up logging from Django's settings, and log Python's `warnings`.

    These address developers, so they are logged as INFO: `up` would repeat lines of level WARNING.
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
    """Do nothing: a receiver of this signal keeps Celery from configuring logging."""


@dataclass(slots=True)
class _Window:
    """The lines of one call site within one interval."""

    until_s: float
    lines: int = 0
    left_out: int = 0


class FloodFilter(logging.Filter):
    """Rate-limits warnings and errors per call site; the next line reports how many were dropped.

    Keyed by call site, as the text may come from a caller.
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
        """Return the window of a line, and how many lines the previous one dropped if this one is new."""
        call_site, now = (record.name, record.pathname, record.lineno), self._now()
        current = self._windows.get(call_site)
        if current is not None and now < current.until_s:
            return current, 0
        window = self._windows[call_site] = _Window(until_s=now + self._every_s)
        return window, current.left_out if current else 0


def add_left_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if left_out := getattr(event.get("_record"), "left_out", 0):
        event["left_out"] = left_out
    return event
