"""Delay the shutdown of a web process, so that load balancers see it as not ready first."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType


class StopNotice:
    """Delays SIGTERM, on which the server closes its listener at once. A second SIGTERM takes effect immediately.

    Shape: the first signal calls `give_notice`; `begin_to_stop` is called when the server stops.
    """

    def __init__(self, notice_s: float, give_notice: Callable[[], None], begin_to_stop: Callable[[], None]) -> None:
        self._notice_s = notice_s
        self._give_notice = give_notice
        self._begin_to_stop = begin_to_stop
        self._is_given = False
        self._stop_server: Callable[[int, FrameType | None], object] | None = None

    def install(self) -> None:
        """Wrap the server's signal handler. Only the main thread receives signals."""
        handler = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._loop = asyncio.get_running_loop()
            self._stop_server = handler
            signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
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
