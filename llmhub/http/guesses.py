"""Throttle unknown API keys: the more guesses from one address, the later the answers."""

from __future__ import annotations

import time
from collections import OrderedDict

from llmhub.http.connection_bounds import address_group

BURST = 20
EVERY_S = 3.0
"""A burst, then one guess per interval: twenty a minute."""

LONGEST_S = 60.0
MAX_ADDRESSES = 10_000


class Guesses:
    """Throttles unknown keys per address in one process. Known keys are never delayed."""

    def __init__(self) -> None:
        self._due_s: OrderedDict[str, float] = OrderedDict()

    def note(self, address: str, *, now_s: float | None = None) -> float:
        """Count an unknown key; return the delay of its answer, in seconds."""
        now_s = time.monotonic() if now_s is None else now_s
        address = address_group(address)
        due_s = max(self._due_s.pop(address, now_s), now_s) + EVERY_S
        wait_s = due_s - now_s - BURST * EVERY_S
        self._due_s[address] = min(due_s, now_s + BURST * EVERY_S + LONGEST_S)
        if len(self._due_s) > MAX_ADDRESSES:
            self._due_s.popitem(last=False)
        return min(max(wait_s, 0.0), LONGEST_S)


GUESSES = Guesses()
