"""Secrets and prompts that can be told from everything else, and the places where they are looked for."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

PROVIDER_KEY = "sk-canary-provider-4f9d1c7be2"
PROMPT = "canary-prompt-b81e: what does the merger cost?"
ANSWER = "canary-answer-77d2 as agreed"
UPSTREAM_ID = "canary-request-19ac"

OURS = ("llmhub.", "providers.", "chat.")


def found(text: str, *canaries: str) -> list[str]:
    """Return which of them stand in a text, in part too: the telling first half is enough."""
    return [canary for canary in canaries if canary[:20].lower() in text.lower()]


class Everything(logging.Handler):
    """Keeps what every logger says at any level: the text, its traceback, and what it was made of."""

    def __init__(self, formatters: Iterable[logging.Formatter]) -> None:
        super().__init__(logging.NOTSET)
        self._formatters = tuple(formatters)
        self._said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        made_of = repr({name: value for name, value in vars(record).items() if name != "exc_info"})
        lines = [formatter.format(record) for formatter in self._formatters]
        self._said.append("\n".join([made_of, *lines]))

    @property
    def text(self) -> str:
        return "\n".join(self._said)


@contextmanager
def every_log() -> Iterator[Everything]:
    """Hear every logger at the level DEBUG, through the formatters that the hub itself logs with."""
    root = logging.getLogger()
    known = [root, *(log for log in logging.root.manager.loggerDict.values() if isinstance(log, logging.Logger))]
    own = {handler.formatter for handler in root.handlers if handler.formatter}
    heard = Everything([logging.Formatter(), *own])
    before = [(log, log.level, log.disabled) for log in known]
    for log in known:
        log.setLevel(logging.DEBUG)
        log.disabled = False
        if log is root or not log.propagate:
            log.addHandler(heard)
    try:
        yield heard
    finally:
        for log, level, disabled in before:
            log.setLevel(level)
            log.disabled = disabled
            log.removeHandler(heard)


def shown() -> dict[str, str]:
    """Return what every living object of the hub, and every task, shows of itself, by the name of its type."""
    said: dict[str, str] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        if f"{kind.__module__}.".startswith(OURS) or isinstance(thing, asyncio.Future):
            name = kind.__qualname__
            said[name] = f"{said.get(name, '')}\n{thing!r}\n{thing!s}"
    return said
