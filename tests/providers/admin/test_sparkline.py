import pytest

from providers.admin.sparkline import describe_latencies, sparkline


@pytest.mark.parametrize(
    ("latencies", "words"),
    [
        pytest.param([120], "The last check: 120 ms to 120 ms, none failed", id="one"),
        pytest.param([120, None, 2400], "The last 3 checks: 120 ms to 2.4 s, 1 failed", id="mixed"),
        pytest.param([None, None], "The last 2 checks: failed", id="all-failed"),
    ],
)
def test_latencies_are_told_in_words(latencies, words):
    assert describe_latencies(latencies) == words
    assert f'aria-label="{words}"' in sparkline(latencies)


def test_each_failed_check_is_marked():
    drawn = sparkline([10, None, 30, None])

    assert drawn.count("pv-failure") == 2
    assert drawn.count(",") >= 2


def test_the_slowest_check_is_at_the_top():
    drawn = sparkline([0, 100])

    assert 'points="3.0,19.0 87.0,3.0"' in drawn


def test_no_checks_draw_nothing():
    assert "<svg" not in sparkline([])
