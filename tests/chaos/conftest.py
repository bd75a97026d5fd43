import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.hub import Hub, running_hub
from tests.chaos.load import Fire
from tests.chaos.trial import Trial, chosen_seed
from tests.llmhub.embedded.conftest import passable_folder


@dataclass(frozen=True)
class Site:
    hub: Hub
    fire: Fire
    seed: int


@contextmanager
def running_site(home: Path, *, processes: int, has_tasks: bool) -> Iterator[Site]:
    """Yield a hub with a provider behind it; what they do by chance follows from one seed."""
    seed = chosen_seed()
    print(f"\nCHAOS_SEED={seed}", flush=True)
    with ExitStack() as stack:
        hub = stack.enter_context(running_hub(home, processes=processes, has_tasks=has_tasks))
        fire = stack.enter_context(Fire(url=hub.url, key=hub.key, seed=seed))
        hub.register(fire.upstream.url)
        yield Site(hub, fire, seed)


@contextmanager
def trial_on(site: Site, name: str, *, callers: int) -> Iterator[Trial]:
    """Yield a trial whose callers are being answered."""
    trial = Trial(name, site.hub, site.fire, random.Random(f"{site.seed} {name}"))
    site.fire.light(callers)
    try:
        trial.until_recovered()
        yield trial
    finally:
        site.fire.stop()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with passable_folder() as folder:
        home = folder / "home"
        home.mkdir(mode=0o700)
        yield home


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name.removeprefix("test_").replace("_", " ")
