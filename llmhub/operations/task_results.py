"""Record results of periodic tasks in the worker, and attribute their changes to them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pghistory
from celery.signals import task_postrun, task_prerun
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from llmhub.history.tracking import begin_task
from llmhub.operations.models import TaskResult
from providers.errors import ProviderError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunningTask:
    started_at: datetime
    context: pghistory.context


_running: dict[str, RunningTask] = {}


@task_prerun.connect  # type: ignore[untyped-decorator]  # untyped
def begin(task_id: str, task: Any, **_: object) -> None:
    """Attribute changes in this thread to the task until it ends; one worker thread runs one task."""
    _running[task_id] = RunningTask(timezone.now(), begin_task(task.name))


@task_postrun.connect  # type: ignore[untyped-decorator]  # untyped
def end(task_id: str, task: Any, retval: object, **_: object) -> None:
    running = _running.pop(task_id, None)
    if running is None:
        return
    running.context.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # untyped
    headers = {**vars(task.request), **(task.request.headers or {})}
    if name := headers.get("periodic_task_name"):
        store_result(name, started_at=running.started_at, error=error_message(retval))


def store_result(name: str, *, started_at: datetime, error: str) -> None:
    """Store a task's result; log and drop it while the database is down."""
    try:
        TaskResult.objects.note(name, started_at=started_at, finished_at=timezone.now(), error=error)
    except (DatabaseError, InterfaceError) as lost:
        logger.warning("Could not keep how the task %s ended (%s).", name, type(lost).__name__)


def error_message(outcome: object) -> str:
    """Return a displayable error: the message of the hub's own errors, else only the type."""
    if not isinstance(outcome, BaseException):
        return ""
    kind = type(outcome).__name__
    return f"{kind}: {outcome.message}" if isinstance(outcome, ProviderError) else kind
