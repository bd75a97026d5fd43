"""Work on what is large, beside the event loop, which serves others meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BYTES = 256 * 1024
"""What is smaller is done at once: a thread would cost more."""

_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="heavy work")


async def done_beside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work in one of the few threads for what is large: the rest of it waits in turn."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, partial(copy_context().run, work, *args, **kwargs))
