"""Exit a hanging worker or beat, so that its supervisor restarts it."""

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
"""Longer than an unresponsive broker and database can delay one tick."""

WORKER_HANGS_AFTER_S = 360.0
"""Longer than the longest task: until then, all threads may be busy."""

CHECK_EVERY_S = 5.0


def touch_heartbeat_file() -> None:
    """Show `manage.py up` that this process is alive."""
    if path := os.environ.get("LLMHUB_HEART"):
        Path(path).touch()


def restart_watchdog(after_s: float = BEAT_HANGS_AFTER_S) -> None:
    """Exit this process with a traceback of all threads, unless called again within `after_s`."""
    faulthandler.dump_traceback_later(after_s, exit=True)


class WorkerWatch:
    """Detects that a sent task is not processed.

    Shape: `is_alive` tells whether a worker wrote a heartbeat lately, None if unknown; `send` sends a task that writes
    one, and tells whether the broker accepted it.
    """

    def __init__(self, *, is_alive: Callable[[], bool | None], send: Callable[[], bool]) -> None:
        self._is_alive = is_alive
        self._send = send
        self._sent_at_s: float | None = None

    def hangs(self, *, now_s: float) -> bool:
        if self._is_alive() is not False:
            self._sent_at_s = None
        elif self._sent_at_s is None:
            self._sent_at_s = now_s if self._send() else None
        return self._sent_at_s is not None and now_s - self._sent_at_s > WORKER_HANGS_AFTER_S


def is_worker_alive() -> bool | None:
    try:
        return Service.WORKER in Heartbeat.objects.alive(now=timezone.now())
    except (DatabaseError, InterfaceError):
        return None
    finally:
        close_old_connections()


def watch_worker(send_canary: Callable[[], object]) -> None:
    """Watch this worker in a thread for as long as it runs."""

    def send() -> bool:
        try:
            send_canary()
        except OperationalError:
            return False
        return True

    def run() -> None:
        watch = WorkerWatch(is_alive=is_worker_alive, send=send)
        while not watch.hangs(now_s=time.monotonic()):
            touch_heartbeat_file()
            time.sleep(CHECK_EVERY_S)
        logger.critical("No task is worked on: this worker ends, to be started again.")
        faulthandler.dump_traceback()
        os._exit(1)

    threading.Thread(target=run, name="watchdog", daemon=True).start()
