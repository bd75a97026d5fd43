from __future__ import annotations

import pytest

from llmhub.dashboard.overview.numbers import format_count, format_duration, format_percent, format_usd, pluralize_chats


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, ("0", "0")),
        (9_999, ("9,999", "9,999")),
        (10_000, ("10.0 k", "10,000")),
        (999_949, ("999.9 k", "999,949")),
        (999_950, ("1.0 M", "999,950")),
        (1_234_567, ("1.2 M", "1,234,567")),
        (1_960_000_000, ("2.0 bn", "1,960,000,000")),
        (12_300_000_000_000, ("12,300.0 bn", "12,300,000,000,000")),
    ],
)
def test_a_count_is_short_and_exact(count, words):
    assert format_count(count) == words


@pytest.mark.parametrize(
    ("nano_usd", "words"),
    [
        (0, ("$0.00", "$0")),
        (1, ("$0.000000001", "$0.000000001")),
        (1_249_000, ("$0.0012", "$0.001249")),
        (99_999_999, ("$0.1", "$0.099999999")),
        (100_000_000, ("$0.10", "$0.1")),
        (1_234_565_000_000, ("$1,234.57", "$1,234.565")),
        (12_345_600_000_000, ("$12.3 k", "$12,345.6")),
    ],
)
def test_a_sum_has_cents_or_two_digits_that_count(nano_usd, words):
    assert format_usd(nano_usd) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (None, ("–", "no succeeded chats")),
        (320.4, ("320 ms", "about 320 ms")),
        (999.6, ("1.0 s", "about 1,000 ms")),
        (1_432.0, ("1.4 s", "about 1,432 ms")),
        (59_960.0, ("1.0 min", "about 59,960 ms")),
        (126_000.0, ("2.1 min", "about 126,000 ms")),
    ],
)
def test_a_time_has_the_unit_that_fits(ms, words):
    assert format_duration(ms) == words


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0.0 %"),
        (0.0004, "< 0.1 %"),
        (0.0453, "4.5 %"),
        (0.9996, "> 99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(share, words):
    assert format_percent(share) == words


def test_one_is_a_chat():
    assert [pluralize_chats(count) for count in (0, 1, 2)] == ["chats", "chat", "chats"]
