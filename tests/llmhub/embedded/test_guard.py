import signal
from textwrap import dedent

import pytest

from llmhub.embedded import guard
from tests.llmhub.embedded.processes import family, running, survivors, wait_for_death

pytestmark = pytest.mark.slow

STARTER = dedent("""
    import signal, sys
    from pathlib import Path
    from llmhub.embedded.child_processes import ChildCommand, Guard

    guard = Guard()
    guard.start(ChildCommand(name="child", argv=[sys.executable, "-c", sys.argv[1]], log=Path(sys.argv[2]), env={}))
    print(flush=True)
    signal.pause()
""")
SLEEPER = "import time; time.sleep(600)"
PARENT_OF_SLEEPER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{SLEEPER}'])"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"


@pytest.mark.parametrize("program", [SLEEPER, PARENT_OF_SLEEPER], ids=["child", "grandchild"])
def test_nothing_outlives_a_starter_that_was_killed(program, tmp_path):
    with running(STARTER, program, str(tmp_path / "log")) as starter:
        children = family(starter.pid)

        starter.kill()

        assert len(children) >= 2
        assert survivors(children, timeout_s=5) == []


def test_a_group_that_ignores_its_signal_is_killed():
    with running(STUBBORN) as stubborn:
        guard.end_groups({stubborn.pid: signal.SIGTERM}, grace_s=0.1)

        assert stubborn.wait(5) == -signal.SIGKILL


def test_a_forgotten_group_is_no_longer_watched():
    watched = guard.read_groups(["watch 10 15\n", "watch 11 2\n", "forget 10\n"])

    assert watched == {11: 2}


def test_a_group_counts_as_alive_until_its_death_not_its_burial():
    with running("import signal; print(flush=True); signal.pause()") as process:
        assert guard.is_alive(process.pid)

        process.kill()
        wait_for_death(process)

        assert not guard.is_alive(process.pid)
