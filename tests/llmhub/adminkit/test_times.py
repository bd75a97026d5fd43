from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from llmhub.adminkit.times import exact_time, format_ms, time_ago, time_since

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        pytest.param(timedelta(seconds=-59), "just now", id="seconds-ago"),
        pytest.param(timedelta(minutes=-1), "1 minute ago", id="a-minute-ago"),
        pytest.param(timedelta(days=-3, hours=-5), "3 days ago", id="days-ago"),
        pytest.param(timedelta(seconds=59), "within a minute", id="seconds-ahead"),
        pytest.param(timedelta(days=14, hours=1), "in 2 weeks", id="weeks-ahead"),
    ],
)
def test_a_moment_is_told_by_its_distance(after, words):
    with time_machine.travel(NOW, tick=False):
        told = time_ago(NOW + after)

    assert f">{words}</time>" in told
    assert f'title="{exact_time(NOW + after)}"' in told


def test_what_never_was_has_words_too():
    assert (time_ago(None), time_ago(None, none="not yet")) == ("never", "not yet")


@pytest.mark.parametrize(
    ("lasted", "words"), [(timedelta(seconds=59), "less than a minute"), (timedelta(minutes=90), "1 hour")]
)
def test_what_lasts_is_told_by_its_length(lasted, words):
    with time_machine.travel(NOW, tick=False):
        assert f">{words}</time>" in time_since(NOW - lasted)


def test_an_exact_time_has_seconds_and_its_zone():
    assert exact_time(NOW) == "4 Mar 2026, 12:00:00 UTC"


@pytest.mark.parametrize(("ms", "words"), [(0, "0 ms"), (999, "999 ms"), (1000, "1.0 s"), (61_240, "61.2 s")])
def test_a_latency_is_told_in_the_unit_that_fits(ms, words):
    assert format_ms(ms) == words
