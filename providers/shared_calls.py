"""Calls that many make at once and one carries out: the others take its outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from providers.errors import ProviderError

T = TypeVar("T")


class SharedCalls:
    """Safe from any thread and any event loop. Calls of one key are the same call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Hashable, Future[Any]] = {}

    async def call(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns, or what the same call returns that is under way.

        Errors: those of the work that was done; ProviderError where that was broken off.
        """
        outcome, is_first = self._join(key)
        if not is_first:
            result: T = await asyncio.wrap_future(outcome)
            return result
        with self._carrying_out(key, outcome) as tell:
            return tell(await work())

    def call_blocking(self, key: Hashable, work: Callable[[], T]) -> T:
        """See `call`."""
        outcome, is_first = self._join(key)
        if not is_first:
            result: T = outcome.result()
            return result
        with self._carrying_out(key, outcome) as tell:
            return tell(work())

    def _join(self, key: Hashable) -> tuple[Future[Any], bool]:
        with self._lock:
            is_first = key not in self._under_way
            outcome = self._under_way.setdefault(key, Future())
            if is_first:
                outcome.set_running_or_notify_cancel()  # from here on those who give up waiting leave it alone
            return outcome, is_first

    @contextmanager
    def _carrying_out(self, key: Hashable, outcome: Future[Any]) -> Iterator[Callable[[T], T]]:
        def tell(result: T) -> T:
            self._forget(key)
            outcome.set_result(result)
            return result

        try:
            yield tell
        except BaseException as error:
            self._forget(key)
            outcome.set_exception(error if isinstance(error, Exception) else ProviderError("It was broken off."))
            raise

    def _forget(self, key: Hashable) -> None:
        with self._lock:
            del self._under_way[key]
