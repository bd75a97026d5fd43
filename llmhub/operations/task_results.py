"""How periodic tasks ended, noted by the worker; and what they change, under their names."""

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
class UnderWay:
    started_at: datetime
    context: pghistory.context


_under_way: dict[str, UnderWay] = {}


@task_prerun.connect  # type: ignore[untyped-decorator]  # untyped
def begin(task_id: str, task: Any, **_: object) -> None:
    """Let what the task changes bear its name; until it ends, the worker's thread is its own."""
    _under_way[task_id] = UnderWay(timezone.now(), begin_task(task.name))


@task_postrun.connect  # type: ignore[untyped-decorator]  # untyped
def end(task_id: str, task: Any, retval: object, **_: object) -> None:
    under_way = _under_way.pop(task_id, None)
    if under_way is None:
        return
    under_way.context.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # untyped
    headers = {**vars(task.request), **(task.request.headers or {})}
    if name := headers.get("periodic_task_name"):
        note_result(name, started_at=under_way.started_at, error=spoken_error(retval))


def note_result(name: str, *, started_at: datetime, error: str) -> None:
    """Keep how a periodic task ended; while the database is away, nobody misses it."""
    try:
        TaskResult.objects.note(name, started_at=started_at, finished_at=timezone.now(), error=error)
    except (DatabaseError, InterfaceError) as lost:
        logger.warning("Could not keep how the task %s ended (%s).", name, type(lost).__name__)


def spoken_error(outcome: object) -> str:
    """Say how a task failed by what may be shown: of errors that are not the hub's own, their kind alone."""
    if not isinstance(outcome, BaseException):
        return ""
    kind = type(outcome).__name__
    return f"{kind}: {outcome.message}" if isinstance(outcome, ProviderError) else kind
