import time
from uuid import RFC_4122

from llmhub.runtime.uuid7 import uuid7


def test_an_id_is_a_version_7_uuid():
    made = uuid7()

    assert made.version == 7
    assert made.variant == RFC_4122


def test_an_id_begins_with_the_milliseconds_of_its_making():
    before_ms = time.time_ns() // 1_000_000
    made = uuid7()
    after_ms = time.time_ns() // 1_000_000

    assert before_ms <= made.int >> 80 <= after_ms


def test_ids_sort_by_the_time_they_were_made(time_machine):
    made = []
    for at_s in (1_700_000_000, 1_700_000_000.5, 1_800_000_000):
        time_machine.move_to(at_s, tick=False)
        made.append(uuid7())

    assert made == sorted(made)
    assert [str(one) for one in made] == sorted(str(one) for one in made)


def test_no_two_ids_of_one_millisecond_are_the_same(time_machine):
    time_machine.move_to(1_700_000_000, tick=False)

    assert len({uuid7() for _ in range(1000)}) == 1000


def test_every_bit_that_is_free_varies(time_machine):
    time_machine.move_to(1_700_000_000, tick=False)
    seen = [uuid7().int for _ in range(200)]

    varying = 0
    for one in seen:
        varying |= one ^ seen[0]

    fixed = 0xF << 76 | 0x3 << 62
    assert varying == (1 << 80) - 1 & ~fixed
