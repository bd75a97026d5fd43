"""Store the last use of API keys periodically, in a background thread, so that no request waits."""

from __future__ import annotations

import logging
import threading

from django.db import connection

from llmhub.access.last_used import give_back, take_uses
from llmhub.access.models import ApiKey

logger = logging.getLogger(__name__)

EVERY_S = 15.0
STOP_S = 2.0
"""How long a stopping process waits for the last batch."""


def write_uses() -> int:
    """Store the noted uses, and keep them for a retry on failure; return how many keys were updated."""
    uses = take_uses()
    try:
        return ApiKey.objects.mark_used(uses)
    except Exception as error:  # whatever it is: the thread continues, and the next batch retries
        give_back(uses)
        logger.warning("Could not write when keys were last used (%s); trying again later.", type(error).__name__)
        return 0


class UseWriter:
    """Writes in batches from `start` to `stop`, and once more at the end."""

    def __init__(self, *, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="key uses", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Store the remaining uses. Blocks for `STOP_S` at most: a database outage costs only precision."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None:
            thread.join(timeout=STOP_S)

    def _run(self) -> None:
        is_stopping = False
        while not is_stopping:
            is_stopping = self._stopping.wait(self._every_s)
            self._write()

    def _write(self) -> None:
        try:
            write_uses()
        finally:
            connection.close()
