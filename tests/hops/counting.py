"""Count the calls of functions whose code lies in some folders.

A call is a function that begins, or a generator that is asked for its next item. What goes on after an await is none.
Lambdas and generator expressions are called too. A comprehension is none, on any Python: since 3.12 it runs where it
stands (https://peps.python.org/pep-0709/).
"""

from __future__ import annotations

import dis
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

AT_START, AFTER_YIELD = 0, 1
RUN_IN_PLACE = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
WHERE = 0b11
"""The bits of RESUME's argument that say where. Source: https://docs.python.org/3/library/dis.html#opcode-RESUME."""


@dataclass(frozen=True, slots=True, order=True)
class Function:
    """A function by the file it is in, and its qualified name."""

    file: str
    name: str

    @property
    def written_in(self) -> Function:
        """The outermost function around it, of which a lambda or a comprehension is a part."""
        return Function(self.file, self.name.partition(".<locals>")[0])


Calls = Counter[Function]


def functions_of(calls: Calls) -> set[Function]:
    return {function.written_in for function in calls}


def files_of(calls: Calls) -> set[str]:
    return {function.file for function in calls}


class CallCounter:
    """Counts on the threads that start while it watches, and only while it is told to."""

    def __init__(self, root: Path, *packages: str) -> None:
        self._root = f"{root}/"
        self._folders = tuple(f"{root / package}/" for package in packages)
        self._calls: Calls | None = None

    @contextmanager
    def watching_new_threads(self) -> Iterator[None]:
        before = threading.getprofile()
        threading.setprofile(self._on_event)
        try:
            yield
        finally:
            threading.setprofile(before)

    @contextmanager
    def counting(self) -> Iterator[Calls]:
        self._calls = calls = Calls()
        try:
            yield calls
        finally:
            self._calls = None

    def _on_event(self, frame: FrameType, event: str, arg: object) -> None:
        calls, code = self._calls, frame.f_code
        if calls is None or event != "call" or not code.co_filename.startswith(self._folders):
            return
        if _is_call(frame):
            calls[Function(code.co_filename.removeprefix(self._root), code.co_qualname)] += 1


def _is_call(frame: FrameType) -> bool:
    """Tell a call from what a profiler takes for one: every way in which a frame goes on."""
    if frame.f_code.co_name in RUN_IN_PLACE:
        return False
    operation, argument = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return dis.opname[operation] == "RESUME" and argument & WHERE in (AT_START, AFTER_YIELD)
