"""Real processes for the tests of those who start and stop them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil

from llmhub.embedded.options import ROOT


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


@dataclass(frozen=True)
class Up:
    """A hub that `manage.py up` runs, and what it printed until it was ready."""

    process: subprocess.Popen[str]
    home: Path
    greeting: str

    @property
    def credentials(self) -> dict[str, str]:
        return json.loads((self.home / "credentials.json").read_text())

    def client(self) -> httpx.Client:
        key = self.credentials["api_key"]
        return httpx.Client(base_url=self.credentials["url"], headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def stop(self) -> int:
        self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode


@contextmanager
def running_up(home: Path, **environment: str) -> Iterator[Up]:
    """Run a hub with nothing but its own servers, from its readiness on."""
    with start_up(home, **environment) as process:
        greeting = "".join(iter(partial(read_line, process), ""))
        try:
            yield Up(process, home, greeting)
        finally:
            process.terminate()
            process.communicate(timeout=60)


def start_up(home: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, ROOT / "manage.py", "up"],
        env=bare_environment() | {"LLMHUB_HOME": str(home), "PORT": "0"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def bare_environment() -> dict[str, str]:
    """Return the environment of a newcomer, without what the tests run on."""
    ours = ("DATABASE_", "REDIS_", "LLMHUB_", "DJANGO_", "COV_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of what it prints, or "" after the last line of its greeting."""
    line = process.stdout.readline()
    return "" if line.startswith("All of this is in") else line
