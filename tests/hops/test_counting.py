import asyncio
import runpy
import threading
from pathlib import Path

import pytest

from tests.hops.counting import CallCounter, Calls, Function, files_of, functions_of

CODE = """
import asyncio

def called():
    return 1

def items():
    yield called()
    yield called()

async def waiting():
    await asyncio.sleep(0)
    await asyncio.sleep(0)

async def arriving():
    for number in (1, 2):
        await asyncio.sleep(0)
        yield number

async def exhausting():
    return [number async for number in arriving()]

def sorting():
    return sorted([3, 2], key=lambda number: -number)
"""


def on_new_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture
def code(tmp_path):
    path = tmp_path / "ours" / "code.py"
    path.parent.mkdir()
    path.write_text(CODE)
    return runpy.run_path(str(path))


@pytest.fixture
def counter(tmp_path):
    return CallCounter(tmp_path, "ours")


@pytest.fixture
def count(counter):
    """Count what is called on a thread that starts while it is watched."""

    def count(work):
        with counter.watching_new_threads(), counter.counting() as calls:
            on_new_thread(work)
        return {function.name: number for function, number in calls.items()}

    return count


def test_each_call_of_a_function_counts(code, count):
    assert count(lambda: [code["called"]() for _ in range(3)]) == {"called": 3}


def test_each_item_that_a_generator_is_asked_for_is_a_call(code, count):
    assert count(lambda: list(code["items"]())) == {"items": 3, "called": 2}


def test_going_on_after_an_await_is_no_call(code, count):
    assert count(lambda: asyncio.run(code["waiting"]())) == {"waiting": 1}


def test_an_item_that_is_waited_for_is_one_call(code, count):
    calls = count(lambda: asyncio.run(code["exhausting"]()))

    assert calls["arriving"] == 3
    assert calls["exhausting"] == 1


def test_a_lambda_is_called_and_belongs_to_the_function_it_is_written_in(code, count):
    calls = count(code["sorting"])

    assert calls == {"sorting": 1, "sorting.<locals>.<lambda>": 2}
    assert functions_of(Calls(Function("a.py", name) for name in calls)) == {Function("a.py", "sorting")}


def test_the_file_is_named_from_the_root_on(code, counter):
    with counter.watching_new_threads(), counter.counting() as calls:
        on_new_thread(code["called"])

    assert files_of(calls) == {"ours/code.py"}


def test_code_of_others_does_not_count(count):
    assert count(lambda: Path("a").with_name("b")) == {}


def test_nothing_counts_before_and_after(code, counter):
    with counter.watching_new_threads():
        with counter.counting() as calls:
            pass
        on_new_thread(code["called"])

    assert calls == {}


def test_a_thread_that_was_there_before_does_not_count(code, counter):
    with counter.watching_new_threads(), counter.counting() as calls:
        code["called"]()

    assert calls == {}
    assert threading.getprofile() is None
