"""What ends a worker or a beat that hangs, so that whoever watches over its process starts it again."""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from kombu.exceptions import OperationalError

from llmhub.operations.models import Heartbeat, Service

logger = logging.getLogger(__name__)

BEAT_HANGS_AFTER_S = 120.0
"""Longer than a broker and a database that are silent hold up one look at the schedules."""

WORKER_HANGS_AFTER_S = 360.0
"""Longer than the longest task may take: until then all threads may be busy."""

LOOK_EVERY_S = 5.0


def touch_heart() -> None:
    """Show `manage.py up` that this process is not frozen."""
    if heart := os.environ.get("LLMHUB_HEART"):
        Path(heart).touch()


def put_off_end(after_s: float = BEAT_HANGS_AFTER_S) -> None:
    """End this process, and tell where each of its threads is, unless this is called again in time."""
    faulthandler.dump_traceback_later(after_s, exit=True)


class WorkerWatch:
    """Notices that no task is worked on although one was sent.

    Shape: `is_heard` tells whether a worker gave a sign of life lately, None where nobody can tell; `send` sends a
    task that gives one, and tells whether the broker took it.
    """

    def __init__(self, *, is_heard: Callable[[], bool | None], send: Callable[[], bool]) -> None:
        self._is_heard = is_heard
        self._send = send
        self._sent_at_s: float | None = None

    def hangs(self, *, now_s: float) -> bool:
        if self._is_heard() is not False:
            self._sent_at_s = None
        elif self._sent_at_s is None:
            self._sent_at_s = now_s if self._send() else None
        return self._sent_at_s is not None and now_s - self._sent_at_s > WORKER_HANGS_AFTER_S


def is_worker_heard() -> bool | None:
    try:
        return Service.WORKER in Heartbeat.objects.alive(now=timezone.now())
    except (DatabaseError, InterfaceError):
        return None
    finally:
        close_old_connections()


def watch_worker(send_canary: Callable[[], object]) -> None:
    """Watch over this worker, in a thread, for as long as it runs."""

    def send() -> bool:
        try:
            send_canary()
        except OperationalError:
            return False
        return True

    def run() -> None:
        watch = WorkerWatch(is_heard=is_worker_heard, send=send)
        while not watch.hangs(now_s=time.monotonic()):
            touch_heart()
            time.sleep(LOOK_EVERY_S)
        logger.critical("No task is worked on: this worker ends, to be started again.")
        faulthandler.dump_traceback()
        os._exit(1)

    threading.Thread(target=run, name="watchdog", daemon=True).start()
