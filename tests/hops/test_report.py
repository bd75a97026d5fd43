from tests.hops import report
from tests.hops.chats import CHUNKS, Hops
from tests.hops.counting import Calls, Function

ONCE = Function("chat/a.py", "once")
EACH = Function("chat/b.py", "each")
PART_OF_EACH = Function("chat/b.py", "each.<locals>.<lambda>")

HOPS = Hops(
    whole=Calls({ONCE: 3}),
    stream=Calls({ONCE: 4, EACH: CHUNKS}),
    longer_stream=Calls({ONCE: 4, EACH: 2 * CHUNKS, PART_OF_EACH: CHUNKS // 2}),
)


def test_the_numbers_are_written_as_json():
    assert report.as_json(HOPS) == {
        "whole": {"calls": 3, "functions": 1, "files": 1},
        "stream": {"calls": CHUNKS + 4, "functions": 2, "files": 2, "calls_per_chunk": 1.5},
    }


def test_the_table_says_what_each_further_chunk_adds():
    assert report.table(HOPS).splitlines()[-1].split() == ["each", "further", "chunk", "1.5"]


def test_the_trace_lists_the_functions_of_each_file():
    *_, each = report.trace(HOPS).split("\n\n")

    lines = [line.split() for line in each.splitlines()]
    assert lines[1:] == [["1.5", "chat/b.py"], ["1", "each"], ["0.5", "each.<locals>.<lambda>"]]
