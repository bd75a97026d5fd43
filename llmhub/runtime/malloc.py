"""Giving memory back: large pieces go straight to the system when they are freed, and the rest is not kept for long."""

from __future__ import annotations

import ctypes
import sys

# Source: malloc.h of glibc, read 2026-11.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8

LARGE_BYTES = 16 * 1024 * 1024
SPARE_BYTES = 32 * 1024 * 1024
ARENAS = 2


def give_memory_back() -> bool:
    """Tell glibc not to keep for itself what large bodies took; False where there is another allocator.

    Left alone, glibc takes ever larger pieces from its heaps, which do not shrink again.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    wanted = {MMAP_THRESHOLD: LARGE_BYTES, TRIM_THRESHOLD: SPARE_BYTES, ARENA_MAX: ARENAS}
    return {mallopt(name, value) for name, value in wanted.items()} == {1}
