"""A pytest plugin: what takes longest begins first, and what shares one running product stays in one process.

A module that takes a minute and begins last keeps one worker busy while the others have nothing left.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import Producer

TOGETHER = ("tests/browser/",)
"""Folders whose modules share a fixture of the session that is dear: each worker would make its own."""

LONG = (
    "tests/browser/",
    "tests/attacks/test_strangers.py",
    "tests/llmhub/embedded/test_up.py",
    "tests/chaos/test_faults.py",
    "tests/attacks/",
    "tests/llmhub/http/test_bulk_process.py",
    "tests/llmhub/embedded/",
    "tests/secrets_kept/",
    "tests/test_permissions.py",
    "tests/streams/",
)
"""What takes longest, in the order in which it begins."""


def rank(nodeid: str) -> int:
    return next((place for place, path in enumerate(LONG) if nodeid.startswith(path)), len(LONG))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    yield
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = next(filter(nodeid.startswith, TOGETHER), None)
            return folder or super()._split_scope(nodeid)

    return Scheduling(config, log)
