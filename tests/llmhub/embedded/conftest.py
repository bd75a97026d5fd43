import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmhub.embedded.process import Guard


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path that another user may pass through: pytest's own folders are neither."""
    with tempfile.TemporaryDirectory(prefix="llmhub-tests-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as running:
        yield running
