"""Send periodic tasks immediately, on an admin's request."""

from __future__ import annotations

import json

from celery import current_app
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError

MAX_QUEUE_S = 3600


class CannotSendError(Exception):
    """A task was not sent; the message tells the user why."""


class NoBrokerError(CannotSendError):
    """The broker is unavailable, so no task can be sent."""


def send_now(task: PeriodicTask) -> None:
    """Send a task as beat would.

    Errors: CannotSendError for an unknown task or invalid arguments; NoBrokerError without a broker.
    """
    current_app.loader.import_default_modules()
    if task.task not in current_app.tasks:
        raise CannotSendError(f"the task {task.task} is unknown.")
    try:
        args, kwargs = json.loads(task.args or "[]"), json.loads(task.kwargs or "{}")
    except ValueError:
        raise CannotSendError("its arguments are not valid JSON.") from None
    options = {"queue": task.queue} if task.queue else {}
    expires = task.expire_seconds or MAX_QUEUE_S
    try:
        current_app.tasks[task.task].apply_async(
            args=args, kwargs=kwargs, expires=expires, retry=False, headers={"periodic_task_name": task.name}, **options
        )
    except OperationalError:
        raise NoBrokerError("Redis does not answer.") from None
    except TypeError:
        raise CannotSendError("the task does not accept these arguments.") from None
