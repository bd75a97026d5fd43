import pytest

from llmhub.embedded.child_processes import Guard
from tests.bench.measure import running_load
from tests.bench.targets import running_bare, running_direct


@pytest.fixture(scope="session")
def targets(tmp_path_factory, servers):
    """The upstream and the bare proxy before it, by name."""
    logs = tmp_path_factory.mktemp("bench")
    with (
        Guard() as guard,
        running_direct(guard, logs) as direct,
        running_bare(guard, logs, direct, processes=1) as bare,
    ):
        yield {"direct": direct, "bare": bare}


@pytest.fixture(scope="session")
def load():
    with running_load() as load:
        yield load
