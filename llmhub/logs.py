"""The form of every line of the log: JSON, or words where a person reads along.

Lines hold no bodies: what is logged names things, exceptions come without local variables, and their words only
where these cannot be content. Scrubbing what looks like a secret is the net below that, not the rule.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import psycopg
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import utils as django_errors
from structlog.contextvars import bind_contextvars, merge_contextvars, unbind_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, WrappedLogger

from llmhub.log_lines import in_words
from llmhub.process_role import process_role
from providers.errors import ProviderError

LogFormat = Literal["", "json", "console"]

ROOT = f"{Path(__file__).resolve().parent.parent}/"
ORDER = ("timestamp", "level", "logger", "event", "request_id", "task", "task_id", "process", "pid", "exception")
MAX_FRAMES = 40
MAX_CAUSES = 8
SPOKEN = (
    ProviderError,
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
    r"(?P<name>\b(?:bearer|basic|x-api-key|api[_-]?key|password|secret|token)\b[\"']?\s*(?:[:=]\s*)?[\"']?)[^\s\"',;&]{8,}"
    r"|(?P<scheme>\b[a-z][a-z0-9+]{0,30}://)[^\s/@:]*:[^\s/@]*(?=@)"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|lh)[-_][\w-]{8,}"
    r"|\bAIza[\w-]{20,}|\bgAAAA[\w=-]{20,}|\beyJ[\w-]{10,1000}\.[\w.-]+",
    re.IGNORECASE,
)
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
            ProcessorFormatter.remove_processors_meta,
            scrub,
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
        event["exception"] = list(_traces(exc_info[1]))[:MAX_CAUSES]
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


def keep_logging(**_: object) -> None:
    """Tell Celery, by being connected to its signal, that logging is set up already."""
