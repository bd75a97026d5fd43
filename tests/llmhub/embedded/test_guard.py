import subprocess
import sys
from textwrap import dedent

import psutil
import pytest

from llmhub.embedded import guard

STARTER = """
    import os, signal, sys
    from pathlib import Path
    from llmhub.embedded.process import Command, Guard

    command = Command(name="child", argv=[sys.executable, "-c", sys.argv[1]], log=Path(sys.argv[2]), env={})
    child = Guard().start(command)
    print(child.process.pid, flush=True)
    signal.pause()
"""
SLEEPER = "import time; time.sleep(600)"
PARENT_OF_SLEEPER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{SLEEPER}'])"


@pytest.mark.parametrize("program", [SLEEPER, PARENT_OF_SLEEPER], ids=["a-child", "a-grandchild"])
def test_nothing_outlives_a_starter_that_was_killed(program, tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", dedent(STARTER), program, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(starter.stdout.readline()))
    family = psutil.Process(starter.pid).children(recursive=True)

    starter.kill()
    starter.communicate()

    assert child in family
    assert ended(family, timeout_s=10) == []


def test_a_group_that_ignores_its_signal_is_killed(monkeypatch):
    monkeypatch.setattr(guard, "GRACE_S", 0.1)
    stubborn = start_group(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    )

    guard.end_groups({stubborn.pid: 15})

    assert stubborn.wait(5) == -9


def test_a_forgotten_group_is_left_alone():
    watched = guard.read_groups(["watch 10 15", "watch 11 2", "forget 10", "nonsense"])

    assert watched == {11: 2}


def test_the_dead_that_nobody_has_buried_do_not_count_as_alive():
    dead = start_group("print(flush=True)")
    psutil.Process(dead.pid).wait if False else None
    wait_for_zombie(dead.pid)

    assert not guard.is_alive(dead.pid)
    dead.wait()
