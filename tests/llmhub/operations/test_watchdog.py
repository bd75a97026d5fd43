from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

import pytest

from llmhub.operations import watchdog
from llmhub.operations.watchdog import WORKER_HANGS_AFTER_S, WorkerWatch

LONG_S = WORKER_HANGS_AFTER_S + 1
HANGS = "from llmhub.operations.watchdog import restart_watchdog; import time; restart_watchdog(0.2); time.sleep(60)"


def seen(heard: Iterable[bool | None], *, is_sent: bool = True, every_s: float = LONG_S) -> list[bool]:
    """Return at which looks a worker is taken to hang."""
    answers = list(heard)
    looks = iter(answers)
    watch = WorkerWatch(is_alive=lambda: next(looks), send=lambda: is_sent)
    return [watch.hangs(now_s=number * every_s) for number in range(len(answers))]


def test_a_worker_that_leaves_a_task_lying_hangs():
    assert seen([False, False]) == [False, True]


@pytest.mark.parametrize("heard", [True, None], ids=["gave-a-sign", "database-away"])
def test_a_worker_that_nothing_is_known_against_goes_on(heard):
    assert seen([False, heard, False]) == [False, False, False]


def test_a_worker_may_be_busy_for_as_long_as_its_longest_task():
    assert seen([False] * 3, every_s=WORKER_HANGS_AFTER_S / 3) == [False] * 3


def test_nothing_is_expected_of_a_worker_while_the_broker_is_away():
    assert seen([False] * 5, is_sent=False) == [False] * 5


def test_without_a_sign_in_the_database_a_worker_is_not_heard(db):
    assert watchdog.is_worker_alive() is False


@pytest.mark.slow
def test_what_does_not_put_off_its_end_ends_and_tells_where_it_was():
    ended = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup(); {HANGS}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert 'File "<string>"' in ended.stderr
