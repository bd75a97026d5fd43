"""How much a JSON text holds, found out before it is parsed: few megabytes of `{}` would be gigabytes of objects."""

from __future__ import annotations

import re
import sys
from enum import Enum, auto

_FEW_BYTES = 16 * 1024
_FEW_STRINGS = 256
_STEP_BYTES = 1024 * 1024

_MARK = re.compile(rb'["\[\]{},]')
# A piece of a string, small enough that no other thread waits long for this one.
_PIECE = re.compile(rb'(?:[^"\\]{1,4096}+|\\.){1,256}+', re.DOTALL)
_OPENING, _COMMA, _QUOTE, _BACKSLASH = b"[{", ord(","), ord('"'), ord("\\")


class Excess(Enum):
    """Of what a text holds too much."""

    VALUES = auto()
    DEPTH = auto()


def find_excess(text: bytes, *, max_values: int, max_depth: int = sys.maxsize) -> Excess | None:
    """Tell whether a JSON text holds more values, or nests them deeper, than is allowed.

    Linear, and done as soon as there is too much; what is no JSON may pass, or not. Most texts are told by a glance.
    """
    values, openings = glance(text)
    if values <= max_values and openings <= max_depth:
        return None
    return _look_closer(text, max_values, max_depth)


def glance(text: bytes) -> tuple[int, int]:
    """Return numbers of values, and of objects and lists, that a JSON text does not exceed.

    Passes over the strings of a long text where these are few, as in a prompt; elsewhere, the marks in them count too.
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


def _look_closer(text: bytes, max_values: int, max_depth: int) -> Excess | None:
    """Count what stands outside of strings, and how deeply."""
    values, strings, depth, at = 1, 0, 0, 0
    while found := _MARK.search(text, at):
        at = found.end()
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
    """Return where a string that began before `at` is over."""
    quote = text.find(b'"', at)
    if quote < 0 or text[quote - 1] != _BACKSLASH:
        return quote + 1 or len(text)
    while piece := _PIECE.match(text, at):
        at = piece.end()
    return at + 1
