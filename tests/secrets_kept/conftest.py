from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import FakeProvider
from tests.secrets_kept.canaries import ANSWER, Everything, every_log


@pytest.fixture
def logs() -> Iterator[Everything]:
    with every_log() as logs:
        yield logs


@pytest.fixture
def upstream() -> Iterator[FakeProvider]:
    with FakeProvider("custom", text=ANSWER) as fake:
        yield fake
