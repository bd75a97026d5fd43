"""Tune glibc's malloc to return freed memory to the system."""

from __future__ import annotations

import ctypes
import sys

# Source: malloc.h of glibc, read 2026-11.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8

LARGE_BYTES = 16 * 1024 * 1024
SPARE_BYTES = 32 * 1024 * 1024
ARENAS = 2


def configure_malloc() -> bool:
    """Have glibc return the memory of large bodies; return False with another allocator.

    By default, glibc raises its mmap threshold over time, and its heaps do not shrink.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    options = {MMAP_THRESHOLD: LARGE_BYTES, TRIM_THRESHOLD: SPARE_BYTES, ARENA_MAX: ARENAS}
    return {mallopt(name, value) for name, value in options.items()} == {1}
