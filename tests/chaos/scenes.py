"""What happens to a hub in the short form and in the long one alike."""

from __future__ import annotations

from tests.chaos.trial import Trial
from tests.mutation.mutants import VARIABLE

MUTANT_APPLICATION = "tests.mutation.asgi:application"


def stop_amid_streams(trial: Trial, *, count: int) -> None:
    """Stop web while streams are under way: these end whole, and who comes later is not let in."""
    under_way = trial.begin("long", count=count)

    trial.note_fire()
    trial.hub.web.stop()
    after = trial.fire.ask_and_wait()
    trial.hub.start_web()
    trial.until_recovered()

    assert trial.verdict() == []
    assert after.status is None
    assert {told.marker for told in trial.told if told.is_whole} >= under_way


def record_intents_late(trial: Trial) -> None:
    """Run a hub that records the intent after the call, and kill it: the harness finds out."""
    trial.hub.web.kill()
    trial.hub.start_web(application=MUTANT_APPLICATION, **{VARIABLE: "ask_before_recording"})
    trial.until_recovered()
    (open_at_death,) = trial.begin("endless")
    trial.note_fire()
    trial.hub.web.kill()
    trial.hub.start_web()

    broken = trial.verdict()
    assert f"{open_at_death}: the provider was asked, and there is no intent" in broken
    assert any("before the intent was committed" in violation for violation in broken)
