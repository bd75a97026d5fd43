"""Bound the size of JSON before parsing: a few megabytes of `{}` would become gigabytes of objects."""

from __future__ import annotations

import re
import sys
from enum import Enum, auto

_FEW_BYTES = 16 * 1024
_FEW_STRINGS = 256
_STEP_BYTES = 1024 * 1024

_MARK = re.compile(rb'["\[\]{},]')
# A chunk of a string, short enough not to hold the interpreter for long.
_CHUNK = re.compile(rb'(?:[^"\\]{1,4096}+|\\.){1,256}+', re.DOTALL)
_OPENING, _COMMA, _QUOTE, _BACKSLASH = b"[{", ord(","), ord('"'), ord("\\")


class Excess(Enum):
    """Which bound a text exceeds."""

    VALUES = auto()
    DEPTH = auto()


def find_excess(text: bytes, *, max_values: int, max_depth: int = sys.maxsize) -> Excess | None:
    """Return the bound that a JSON text exceeds, if any.

    Linear; stops at the first excess. Invalid JSON may pass or fail. `glance` settles most texts.
    """
    values, openings = glance(text)
    if values <= max_values and openings <= max_depth:
        return None
    return _count_exactly(text, max_values, max_depth)


def glance(text: bytes) -> tuple[int, int]:
    """Return upper bounds for the values, and for the objects and arrays, of a JSON text.

    Skips the first strings of a long text, as in a prompt; elsewhere, marks inside strings count too.
    """
    commas = openings = at = 0
    for _ in range(_FEW_STRINGS if len(text) > _FEW_BYTES else 0):
        quote = text.find(b'"', at)
        stop = quote if quote >= 0 else len(text)
        commas += text.count(b",", at, stop)
        openings += text.count(b"[", at, stop) + text.count(b"{", at, stop)
        if quote < 0:
            return 1 + commas + openings, openings
        at = _end_of_string(text, quote + 1)
    for start in range(at, len(text), _STEP_BYTES):
        stop = start + _STEP_BYTES
        commas += text.count(b",", start, stop)
        openings += text.count(b"[", start, stop) + text.count(b"{", start, stop)
    return 1 + commas + openings, openings


def _count_exactly(text: bytes, max_values: int, max_depth: int) -> Excess | None:
    """Count values and depth outside of strings."""
    values, strings, depth, at = 1, 0, 0, 0
    while match := _MARK.search(text, at):
        at = match.end()
        mark = text[at - 1]
        if mark == _QUOTE:
            strings += 1
            at = _end_of_string(text, at)
        elif mark == _COMMA:
            values += 1
        elif mark in _OPENING:
            values += 1
            depth += 1
            if depth > max_depth:
                return Excess.DEPTH
        else:
            depth -= 1
        if values > max_values or strings > 2 * max_values:
            return Excess.VALUES
    return None


def _end_of_string(text: bytes, at: int) -> int:
    """Return the end of the string that began before `at`."""
    quote = text.find(b'"', at)
    if quote < 0 or text[quote - 1] != _BACKSLASH:
        return quote + 1 or len(text)
    while chunk := _CHUNK.match(text, at):
        at = chunk.end()
    return at + 1
