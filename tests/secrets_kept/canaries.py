"""Secrets and prompts that can be told from everything else, and the places where they are looked for."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db.models import Model

PROVIDER_KEY = "sk-canary-provider-4f9d1c7be2"
PROMPT = "canary-prompt-b81e: what does the merger cost?"
ANSWER = "canary-answer-77d2 as agreed"
ECHO = f"You sent Bearer {PROVIDER_KEY} and asked: {PROMPT}"
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
    """Hear every logger at the level DEBUG, through the formatters that the hub logs with.

    Left out is what no level of the hub's settings lets through: the debugging lines of Django's templates.
    """
    root = logging.getLogger()
    known = [root, *(log for log in root.manager.loggerDict.values() if isinstance(log, logging.Logger))]
    levels = {log: log.level for log in known}
    heard = Everything([logging.Formatter(), *{handler.formatter for handler in root.handlers if handler.formatter}])
    for log in known:
        log.setLevel(logging.INFO if log.name == "django.template" else logging.DEBUG)
        if log is root or not log.propagate:
            log.addHandler(heard)
    try:
        yield heard
    finally:
        for log, level in levels.items():
            log.setLevel(level)
            log.removeHandler(heard)


def shown() -> dict[str, str]:
    """Return what every living object of the hub, and every task, shows of itself, by the name of its type.

    Rows are left out, as showing one may need the database; the text of an error is a provider's own message.
    """
    said: dict[str, str] = {}
    for thing in gc.get_objects():
        kind = type(thing)
        is_ours = f"{kind.__module__}.".startswith(OURS) and not issubclass(kind, Model)
        if is_ours or issubclass(kind, asyncio.Future):
            name = kind.__qualname__
            text = "" if isinstance(thing, BaseException) else str(thing)
            said[name] = f"{said.get(name, '')}\n{thing!r}\n{text}"
    return said
