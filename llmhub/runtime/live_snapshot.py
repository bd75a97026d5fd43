"""In-memory snapshots of database state, reloaded on NOTIFY."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import psycopg
from django.db import close_old_connections

from llmhub.runtime.database import conninfo, own_connection

logger = logging.getLogger(__name__)

CHANNEL = "llmhub_config"
POLL_S = 30.0
RECONNECT_S = 0.3
LISTENER = {"connect_timeout": 3, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2}
"""A listener is idle for hours: only keepalives detect a dead connection. Units: seconds."""

T = TypeVar("T")


class LiveSnapshot(Generic[T]):
    """One immutable value, read by `load` and kept fresh by its follower. Thread-safe."""

    def __init__(self, load: Callable[[], T], follower: ConfigFollower) -> None:
        self._load = load
        self._value: T | None = None
        self._follower = follower
        follower.snapshots.append(self)

    def get(self) -> T:
        """Return the current value; the first call loads it and starts the follower."""
        value = self._value
        if value is None:
            self._follower.start()
            value = self._value if self._value is not None else self.reload()
        return value

    def reload(self) -> T:
        self._value = value = self._load()
        return value

    def forget(self) -> None:
        self._value = None


class ConfigFollower:
    """Keeps snapshots fresh: a thread listens for NOTIFY, and polls as a fallback."""

    def __init__(self) -> None:
        self.snapshots: list[LiveSnapshot[Any]] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._is_stale = False

    def start(self) -> None:
        """Load every snapshot, and keep it fresh from then on. Blocks for the queries."""
        with self._lock:
            if self._thread is not None:
                return
            listening = threading.Event()
            self._stopping.clear()
            self._thread = threading.Thread(target=self._listen, args=(listening,), name="config", daemon=True)
            self._thread.start()
            listening.wait(timeout=5)
        for snapshot in self.snapshots:
            snapshot.get()

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping.set()
            if thread is not None:
                thread.join(timeout=5)
            for snapshot in self.snapshots:
                snapshot.forget()

    def _listen(self, listening: threading.Event) -> None:
        """Follow the database on two connections outside the pool: one listens, the other reads."""
        with own_connection():
            self._listen_until_stopped(listening)

    def _listen_until_stopped(self, listening: threading.Event) -> None:
        is_lost = False
        while not self._stopping.is_set():
            try:
                with psycopg.connect(conninfo(**LISTENER), autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._reload_or_keep()
                    listening.set()
                    if is_lost:
                        logger.warning("Changes of the configuration are heard again.")
                    is_lost = False
                    self._follow(connection)
            except (psycopg.Error, OSError) as error:
                if not is_lost:
                    logger.warning(
                        "Changes of the configuration are not heard (%s); trying again.", type(error).__name__
                    )
                is_lost = True
                listening.set()
                self._stopping.wait(RECONNECT_S)

    def _follow(self, connection: psycopg.Connection[Any]) -> None:
        """Reload at every NOTIFY and every `POLL_S` until stopped; retry a failed reload at once."""
        idle_s = 0.0
        while not self._stopping.is_set():
            announced = bool(list(connection.notifies(timeout=0.5, stop_after=1)))
            idle_s = 0.0 if announced else idle_s + 0.5
            if announced or self._is_stale or idle_s >= POLL_S:
                idle_s = 0.0
                self._reload_or_keep()

    def _reload_or_keep(self) -> None:
        """Reload; keep the last configuration while the database is unavailable."""
        try:
            for snapshot in self.snapshots:
                snapshot.reload()
        except Exception as error:  # whatever it is: without this thread no key could be revoked any more
            if not self._is_stale:
                logger.warning(
                    "Could not read the configuration (%s); the last known one stays in force.", type(error).__name__
                )
            self._is_stale = True
        else:
            self._is_stale = False
        finally:
            close_old_connections()


CONFIGURATION = ConfigFollower()
"""The follower of this process."""
