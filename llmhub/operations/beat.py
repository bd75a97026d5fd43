"""Beat, with the schedules of the database, and a sign of life."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from django_celery_beat.schedulers import DatabaseScheduler

from llmhub.operations.models import Heartbeat, Service
from llmhub.operations.watchdog import put_off_end, touch_heart

logger = logging.getLogger(__name__)

BEAT_EVERY_S = 10.0


class HeartbeatScheduler(DatabaseScheduler):  # type: ignore[misc]  # untyped
    """Writes that it is alive whenever it has looked at its schedules, at most every ten seconds.

    A look that does not come to an end ends the process.
    """

    _beat_at_s = float("-inf")

    def tick(self, *args: Any, **kwargs: Any) -> float:
        put_off_end()
        touch_heart()
        wait_s: float = super().tick(*args, **kwargs)
        if time.monotonic() - self._beat_at_s >= BEAT_EVERY_S:
            self._beat_at_s = time.monotonic()
            show_alive()
        return wait_s


def show_alive() -> None:
    try:
        Heartbeat.objects.beat(Service.BEAT, now=timezone.now())
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Could not write beat's sign of life (%s).", type(error).__name__)
    finally:
        close_old_connections()
