"""Celery beat with database schedules and a heartbeat."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler

from llmhub.operations.models import Heartbeat, Service
from llmhub.operations.watchdog import restart_watchdog, touch_heartbeat_file

logger = logging.getLogger(__name__)

BEAT_EVERY_S = 10.0


class HeartbeatScheduler(DatabaseScheduler):  # type: ignore[misc]  # untyped
    """Writes a heartbeat after each tick, at most every ten seconds.

    A watchdog exits the process if a tick hangs.
    """

    _beat_at_s = float("-inf")

    def tick(self, *args: Any, **kwargs: Any) -> float:
        restart_watchdog()
        touch_heartbeat_file()
        wait_s: float = super().tick(*args, **kwargs)
        if time.monotonic() - self._beat_at_s >= BEAT_EVERY_S:
            self._beat_at_s = time.monotonic()
            write_heartbeat()
        return wait_s


def write_heartbeat() -> None:
    try:
        Heartbeat.objects.beat(Service.BEAT, now=timezone.now())
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Could not write beat's sign of life (%s).", type(error).__name__)
    finally:
        close_old_connections()
