"""Concurrency slots for requests to Django's pages. A request without a slot waits, before it gets a thread."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

_place: ContextVar[Place | None] = ContextVar("place", default=None)


class Place:
    """One request's concurrency slot. Released once; thread-safe."""

    def __init__(self, at_work: asyncio.Semaphore) -> None:
        self._at_work = at_work
        self._loop = asyncio.get_running_loop()
        self._is_released = False

    def leave(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._loop.call_soon_threadsafe(self._at_work.release)


class NoPlaceError(Exception):
    """Too many requests are active or queued; the wait would be too long."""


class Places:
    """Belongs to one event loop. Shape: `requests` bounds the waiting, active and finishing ones together."""

    def __init__(self, *, at_work: int, requests: int, wait_s: float) -> None:
        self._at_work = asyncio.Semaphore(at_work)
        self._requests = requests
        self._wait_s = wait_s
        self._open_requests = 0

    async def take(self) -> Place:
        """Wait for a slot, which `leave_place` finds in the running task; `end` returns it.

        Errors: NoPlaceError.
        """
        if self._open_requests >= self._requests:
            raise NoPlaceError
        self._open_requests += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._at_work.acquire()
        except TimeoutError:
            self._open_requests -= 1
            raise NoPlaceError from None
        except asyncio.CancelledError:
            self._open_requests -= 1
            raise
        place = Place(self._at_work)
        _place.set(place)
        return place

    def end(self, place: Place) -> None:
        place.leave()
        self._open_requests -= 1


def leave_place() -> None:
    """Release the running request's slot while it waits for an external service."""
    place = _place.get()
    if place is not None:
        place.leave()
