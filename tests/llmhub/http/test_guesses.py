import pytest

from llmhub.http import guesses
from llmhub.http.guesses import BURST, EVERY_S, LONGEST_S, Guesses


@pytest.fixture
def found():
    return Guesses()


def test_a_few_unknown_keys_are_answered_at_once(found):
    assert [found.note("192.0.2.1", now_s=0) for _ in range(BURST)] == [0.0] * BURST


def test_more_of_them_wait_ever_longer_up_to_a_bound(found):
    waits = [found.note("192.0.2.1", now_s=0) for _ in range(1000)][BURST:]

    assert waits[:3] == [EVERY_S, 2 * EVERY_S, 3 * EVERY_S]
    assert max(waits) == waits[-1] == LONGEST_S


def test_what_is_answered_in_a_minute_is_bounded_for_who_waits(found):
    now_s, answers = 0.0, 0
    while now_s < 600:
        now_s += found.note("192.0.2.1", now_s=now_s)
        answers += 1

    assert answers <= BURST + 600 / EVERY_S


def test_another_address_does_not_wait(found):
    for _ in range(1000):
        found.note("192.0.2.1", now_s=0)

    assert found.note("192.0.2.2", now_s=0) == 0


def test_an_address_that_was_quiet_may_begin_anew(found):
    for _ in range(1000):
        found.note("192.0.2.1", now_s=0)

    assert found.note("192.0.2.1", now_s=LONGEST_S + BURST * EVERY_S) == 0


def test_only_so_many_addresses_are_kept_in_mind(found):
    for number in range(guesses.MAX_ADDRESSES + 100):
        found.note(f"address {number}", now_s=0)

    assert len(found._due_s) == guesses.MAX_ADDRESSES


def test_addresses_of_one_network_guess_together(found):
    for number in range(BURST):
        found.note(f"2001:db8::{number + 1:x}", now_s=0)

    assert found.note("2001:db8::ffff", now_s=0) > 0
    assert found.note("2001:db8:0:1::1", now_s=0) == 0
