"""Measure the event loop's lag: how long something blocks all chats at once."""

from __future__ import annotations

import asyncio

from prometheus_client import Histogram

EVERY_S = 1.0
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

LAG = Histogram(
    "llmhub_event_loop_lag_seconds", "How late the event loop came to what was due, once a second.", buckets=SECONDS
)


async def measure_lag() -> None:
    """Measure the lag until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        LAG.observe(max(0.0, loop.time() - due_at))
