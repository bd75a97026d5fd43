import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmhub.embedded import child_processes
from llmhub.embedded.child_processes import ChildCommand, Guard
from llmhub.embedded.errors import EmbeddedError
from llmhub.embedded.supervisor import STOP_SIGNALS, StopRequestedError, Supervisor
from tests.live import until

pytestmark = pytest.mark.slow

SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
TIDY = """
import signal, sys, time
def stop(*_):
    time.sleep(0.3)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
signal.pause()
"""
LIVES_TWICE = """
import pathlib, sys, time
mark = pathlib.Path({mark!r})
if not mark.exists():
    mark.touch()
    sys.exit("out of memory")
print("ERROR second life", flush=True)
time.sleep(600)
"""


class Said(list[str]):
    """What was said; each line may call for a signal to ourselves."""

    def __init__(self, signal_at: str = "") -> None:
        super().__init__()
        self.signal_at = signal_at

    def __call__(self, text: str) -> None:
        self.append(text)
        if self.signal_at and self.signal_at in text:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers_restored() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def make_supervisor(guard: Guard, said: Said) -> Supervisor:
    supervisor = Supervisor(guard, said, first_backoff_s=0.01, hurry_after_s=0.1)
    supervisor.listen()
    return supervisor


def python(program: str, log: Path, name: str = "child") -> ChildCommand:
    return ChildCommand(name=name, argv=[sys.executable, "-c", program], log=log, env={})


def test_a_child_that_died_is_reported_with_its_last_words_and_started_again(guard, tmp_path):
    said = Said(signal_at="second life")
    supervisor = make_supervisor(guard, said)
    program = LIVES_TWICE.format(mark=str(tmp_path / "lived"))
    supervisor.start(python(program, tmp_path / "log"), stop_timeout_s=5, is_echoed=True)

    with pytest.raises(StopRequestedError):
        supervisor.watch()
    supervisor.stop("child")

    assert "child ended with status 1" in said[0]
    assert "    out of memory" in said[0]
    assert said[1] == "child | ERROR second life"


def test_a_child_that_keeps_dying_ends_the_watch(guard, tmp_path):
    supervisor = make_supervisor(guard, Said())
    supervisor.start(python("raise SystemExit(3)", tmp_path / "log"), stop_timeout_s=5)

    with pytest.raises(EmbeddedError, match="ended 5 times in a row: giving up"):
        supervisor.watch()
    supervisor.stop("child")


def test_only_lines_that_speak_of_trouble_are_passed_on(guard, tmp_path):
    said = Said(signal_at="FATAL")
    supervisor = make_supervisor(guard, said)
    lines = "INFO fine\\nWARNING odd\\n  level %WARNING\\nFATAL bad"
    program = f"print('{lines}', flush=True); {SLEEPER}"
    supervisor.start(python(program, tmp_path / "log"), stop_timeout_s=5, is_echoed=True)

    with pytest.raises(StopRequestedError):
        supervisor.watch()
    supervisor.stop("child")

    assert said == ["child | WARNING odd", "child | FATAL bad"]


def test_lines_of_json_are_passed_on_in_words_by_their_level(guard, tmp_path):
    said = Said(signal_at="CRITICAL")
    supervisor = make_supervisor(guard, said)
    lines = [
        json.dumps({"timestamp": "2026-11-22T10:20:30.456Z", "level": level, "logger": "chat", "event": "An ERROR."})
        for level in ("info", "warning", "critical")
    ]
    program = f"print({chr(10).join(lines)!r}, flush=True); {SLEEPER}"
    supervisor.start(python(program, tmp_path / "log"), stop_timeout_s=5, is_echoed=True)

    with pytest.raises(StopRequestedError):
        supervisor.watch()
    supervisor.stop("child")

    assert said == [f"child | 2026-11-22 10:20:30Z {level} chat: An ERROR." for level in ("WARNING", "CRITICAL")]


def test_a_second_signal_kills_what_is_slow_to_stop(guard, tmp_path):
    said = Said(signal_at="deaf")
    supervisor = make_supervisor(guard, said)
    child = supervisor.start(
        python(STUBBORN.replace("deaf", "ERROR deaf"), tmp_path / "log"), stop_timeout_s=600, is_echoed=True
    )
    with pytest.raises(StopRequestedError):
        supervisor.watch()

    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    supervisor.stop("child")

    assert child.process.returncode == -signal.SIGKILL
    assert said[-1] == "child did not stop in time and is killed"


def test_a_command_that_fails_says_so_with_the_end_of_its_log(guard, tmp_path):
    supervisor = make_supervisor(guard, Said())

    with pytest.raises(EmbeddedError, match=r"(?s)`prepare` failed.*no such table"):
        supervisor.run(python("raise SystemExit('no such table')", tmp_path / "log", name="prepare"))


def test_a_signal_while_waiting_gives_up_at_once(guard, tmp_path):
    supervisor = make_supervisor(guard, Said())
    child = supervisor.start(python(SLEEPER, tmp_path / "log"), stop_timeout_s=5)

    os.kill(os.getpid(), signal.SIGHUP)
    with pytest.raises(StopRequestedError):
        supervisor.wait_until(lambda: False, child, timeout_s=600)
    supervisor.stop("child")

    assert not child.is_running


def test_signals_that_come_together_do_not_hurry(guard, tmp_path):
    said = Said()
    supervisor = make_supervisor(guard, said)
    child = supervisor.start(python(TIDY, tmp_path / "log"), stop_timeout_s=60)
    supervisor.wait_until(lambda: (tmp_path / "log").read_text() == "up\n", child, timeout_s=10)

    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    supervisor.stop("child")

    assert child.process.returncode == 7
    assert said == []


HANGS_ONCE = """
import pathlib, time
mark, heart = pathlib.Path({mark!r}), pathlib.Path({heart!r})
hangs = not mark.exists()
mark.touch()
heart.touch()
if hangs:
    time.sleep(600)
print("ERROR second life", flush=True)
while True:
    heart.touch()
    time.sleep(0.05)
"""


def test_a_child_whose_heart_stands_still_is_killed_and_started_again(tmp_path):
    mark, heart = tmp_path / "mark", tmp_path / "heart"
    said = Said(signal_at="second life")
    with Guard() as guard:
        supervisor = make_supervisor(guard, said)
        supervisor.hangs_after_s = 2.0
        supervisor.listen()
        script = HANGS_ONCE.format(mark=str(mark), heart=str(heart))
        argv = [sys.executable, "-c", script]
        command = ChildCommand(name="frozen", argv=argv, log=tmp_path / "frozen.log", env={}, heartbeat_file=heart)
        supervisor.start(command, stop_timeout_s=5, is_echoed=True)
        with pytest.raises(StopRequestedError):
            supervisor.watch()
        supervisor.stop("frozen")

    assert said[0] == "frozen hangs and is killed"
    assert "was ended by SIGKILL" in said[1]
    assert said[-1] == "frozen | ERROR second life"


FLOODS = """
import pathlib, time
mark = pathlib.Path({mark!r})
number = 0
while not mark.exists():
    print(number, "x" * 1000, flush=True)
    number += 1
    time.sleep(0.0001)
print("ERROR the end", flush=True)
time.sleep(600)
"""


def test_a_log_is_begun_anew_while_it_is_written_and_only_so_many_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(child_processes, "LOG_ROTATE_BYTES", 50_000)
    mark, log = tmp_path / "mark", tmp_path / "flood.log"

    class Ends(Said):
        def __call__(self, text: str) -> None:
            super().__call__(text)
            os.kill(os.getpid(), signal.SIGTERM)

    said = Ends()
    with Guard() as guard:
        supervisor = make_supervisor(guard, said)
        supervisor.listen()
        command = ChildCommand(
            name="flood", argv=[sys.executable, "-c", FLOODS.format(mark=str(mark))], log=log, env={}
        )
        supervisor.start(command, stop_timeout_s=5, is_echoed=True)
        ending = threading.Thread(
            target=lambda: (until(lambda: (tmp_path / "flood.log.3").exists(), within_s=60), mark.touch())
        )
        ending.start()
        with pytest.raises(StopRequestedError):
            supervisor.watch()
        ending.join()
        supervisor.stop("flood")

    assert said == ["flood | ERROR the end"]
    assert sorted(file.name for file in tmp_path.glob("flood.log*")) == [
        "flood.log",
        *(f"flood.log.{number}" for number in range(1, child_processes.LOGS_KEPT + 1)),
    ]
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("flood.log*")} == {0o600}
