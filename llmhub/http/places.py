"""How many requests to Django's pages are at work at once. The others wait for a place, before they have a thread."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

_place: ContextVar[Place | None] = ContextVar("place", default=None)


class Place:
    """One request's place at work: left once, from whatever thread."""

    def __init__(self, at_work: asyncio.Semaphore) -> None:
        self._at_work = at_work
        self._loop = asyncio.get_running_loop()
        self._is_left = False

    def leave(self) -> None:
        if not self._is_left:
            self._is_left = True
            self._loop.call_soon_threadsafe(self._at_work.release)


class NoPlaceError(Exception):
    """So many are at work, or wait, that one more would wait too long."""


class Places:
    """Belongs to one event loop. Shape: `requests` are those that wait, are at work, or have left their place."""

    def __init__(self, *, at_work: int, requests: int, wait_s: float) -> None:
        self._at_work = asyncio.Semaphore(at_work)
        self._requests = requests
        self._wait_s = wait_s
        self._under_way = 0

    async def take(self) -> Place:
        """Wait for a place, known to `leave_place` in the running task; give it back with `end`.

        Errors: NoPlaceError.
        """
        if self._under_way >= self._requests:
            raise NoPlaceError
        self._under_way += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._at_work.acquire()
        except TimeoutError:
            self._under_way -= 1
            raise NoPlaceError from None
        except asyncio.CancelledError:
            self._under_way -= 1
            raise
        place = Place(self._at_work)
        _place.set(place)
        return place

    def end(self, place: Place) -> None:
        place.leave()
        self._under_way -= 1


def leave_place() -> None:
    """Let another request to work while this one waits for somebody outside the hub."""
    place = _place.get()
    if place is not None:
        place.leave()
