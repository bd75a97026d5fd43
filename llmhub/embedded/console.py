"""What a person sees while the hub starts and stops."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str, *, end: str = "\n") -> None:
    """Print at once; when nobody reads any more, the hub goes on unheard."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def step(what: str) -> Iterator[None]:
    """Name a step as it begins, and how long it took once it is done."""
    began_at = time.monotonic()
    say(f"  {what} … ", end="")
    try:
        yield
    except BaseException:
        say("")
        raise
    say(f"{time.monotonic() - began_at:.1f} s")
