"""The record under fire, in short: one hub, a dozen callers, a few faults. `make soak` has them all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import Site, running_site, trial_on
from tests.chaos.scenes import record_intents_late, stop_amid_streams
from tests.chaos.trial import Trial

pytestmark = pytest.mark.server

CALLERS = 12
KILLS = 2


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[Site]:
    with running_site(home, processes=1, has_tasks=False) as site:
        yield site


@pytest.fixture
def trial(site: Site, name: str) -> Iterator[Trial]:
    with trial_on(site, name, callers=CALLERS) as trial:
        yield trial


def test_a_killed_web_process_leaves_no_chat_unrecorded(trial):
    open_at_death = set()
    for _ in range(KILLS):
        open_at_death |= trial.begin("endless")
        trial.until_told(trial.random.randrange(1, 20))
        trial.note_fire()
        trial.hub.web.kill()
        trial.hub.start_web()
    trial.until_recovered()

    assert trial.verdict() == []
    assert {trial.status_of(told) for told in trial.told if told.marker in open_at_death} == {"lost"}


def test_while_postgres_is_dead_callers_are_refused_and_no_provider_is_asked(trial):
    trial.note_fire()
    trial.hub.postgres.kill_first()
    with trial.in_refusal():
        pass
    trial.hub.postgres.bring_back()
    trial.until_recovered()

    assert trial.verdict() == []


def test_streams_under_way_at_a_stop_end_whole_and_recorded(trial):
    stop_amid_streams(trial, count=3)


def test_chats_go_on_without_redis(trial):
    trial.note_fire()
    trial.hub.valkey.kill()
    trial.until_recovered(count=40)
    trial.hub.valkey.bring_back()

    assert trial.verdict() == []
    assert {told.status for told in trial.told} <= {200, None}


def test_a_hub_that_records_the_intent_after_the_call_is_found_out(trial):
    record_intents_late(trial)
