import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmhub.embedded.child_processes import Guard


@contextmanager
def passable_folder() -> Iterator[Path]:
    """Yield a folder with a short path that other users may pass through: pytest's own folders are neither."""
    with tempfile.TemporaryDirectory(prefix="llmhub-tests-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def home() -> Iterator[Path]:
    with passable_folder() as folder:
        yield folder / "home"


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as running:
        yield running
