"""Real processes for the tests of those who start and stop them."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program in a group of its own, once it has printed its first line."""
    argv = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        process.first_line = process.stdout.readline().strip()
        try:
            yield process
        finally:
            process.kill()


def wait_for_death(process: subprocess.Popen[str]) -> None:
    """Wait until it is dead, and leave it unburied."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def family(process_id: int) -> list[psutil.Process]:
    """Return the children, theirs, and so on."""
    return psutil.Process(process_id).children(recursive=True)


def survivors(processes: Sequence[psutil.Process], *, timeout_s: float) -> list[psutil.Process]:
    """Return who still runs after the time; the dead that a slow init has not buried do not count."""
    _, alive = psutil.wait_procs([p for p in processes if runs(p)], timeout=timeout_s)
    return [process for process in alive if runs(process)]


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
