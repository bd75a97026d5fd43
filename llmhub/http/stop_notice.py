"""The time between the wish that a web process stops and its end, in which balancers hear that it is not ready."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType


class StopNotice:
    """Puts SIGTERM off: the server closes its listener as soon as it hears of it. A second one is heard at once.

    Shape: `give_notice` is called at the first, `begin_to_stop` with the server.
    """

    def __init__(self, notice_s: float, give_notice: Callable[[], None], begin_to_stop: Callable[[], None]) -> None:
        self._notice_s = notice_s
        self._give_notice = give_notice
        self._begin_to_stop = begin_to_stop
        self._is_given = False
        self._stop_server: Callable[[int, FrameType | None], object] | None = None

    def install(self) -> None:
        """Stand before the server's own handler. Signals reach the main thread alone."""
        handler = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._loop = asyncio.get_running_loop()
            self._stop_server = handler
            signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._give_notice()
        if self._is_given or not self._notice_s:
            self._stop(number, frame)
            return
        self._is_given = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._notice_s, self._stop, number, None)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        assert self._stop_server is not None
        self._begin_to_stop()
        self._stop_server(number, frame)
