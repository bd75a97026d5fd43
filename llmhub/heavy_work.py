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

# One: more would but take the interpreter from the loop more often.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heavy work")


async def done_beside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work in the thread for what is large, in turn: done even if nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, partial(copy_context().run, work, *args, **kwargs))
