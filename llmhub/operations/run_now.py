"""Periodic tasks that are sent because somebody does not want to wait."""

from __future__ import annotations

import json

from celery import current_app
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError

WAITS_AT_MOST_S = 3600


class CannotSendError(Exception):
    """A task was not sent; the message says why, in words for who asked."""


class NoBrokerError(CannotSendError):
    """No task can be sent."""


def send_now(task: PeriodicTask) -> None:
    """Send a task as beat would.

    Errors: CannotSendError for a task that nobody knows, or arguments that cannot be read; its NoBrokerError.
    """
    current_app.loader.import_default_modules()
    if task.task not in current_app.tasks:
        raise CannotSendError(f"the hub knows no task {task.task}.")
    try:
        args, kwargs = json.loads(task.args or "[]"), json.loads(task.kwargs or "{}")
    except ValueError:
        raise CannotSendError("its arguments are no JSON.") from None
    options = {"queue": task.queue} if task.queue else {}
    expires = task.expire_seconds or WAITS_AT_MOST_S
    try:
        current_app.tasks[task.task].apply_async(
            args=args, kwargs=kwargs, expires=expires, retry=False, headers={"periodic_task_name": task.name}, **options
        )
    except OperationalError:
        raise NoBrokerError("Redis does not answer.") from None
    except TypeError:
        raise CannotSendError("the task does not take these arguments.") from None
