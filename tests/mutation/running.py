"""Runs tests against a copy of the code, sound or with one promise broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from llmhub.embedded.options import ROOT
from tests.mutation.mutants import Mutant

COPIED = ("llmhub", "providers", "chat", "tests")
FILES = ("manage.py", "pyproject.toml")
TIMEOUT_S = 240
NOTICED = ("AssertionError", "assert ", "Failed: DID NOT RAISE")


class NoMutantError(Exception):
    """The code is not what the mutant says it is."""


@dataclass(frozen=True)
class Verdict:
    """How the tests ended. Shape: `failures` are the first lines of what the failing ones said."""

    passed: int
    failures: tuple[str, ...]
    errors: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return self.passed > 0 and not self.failures and not self.errors

    @property
    def is_caught(self) -> bool:
        """Whether a test failed for what it asserts: code that does not even run proves nothing."""
        return any(failure.startswith(NOTICED) for failure in self.failures) and not self.errors


def copy_tree(folder: Path) -> None:
    for package in COPIED:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)


@contextmanager
def applied(mutant: Mutant, folder: Path) -> Iterator[None]:
    """Break the promise in the copy for a while.

    Errors: NoMutantError.
    """
    path = folder / mutant.path
    sound, stat = path.read_text(), path.stat()
    path.write_text(broken_text(mutant, sound))
    try:
        yield
    finally:
        path.write_text(sound)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # for what is compiled already


def broken_text(mutant: Mutant, sound: str) -> str:
    """Errors: NoMutantError unless the sound code is there once."""
    if (count := sound.count(mutant.sound)) != 1:
        raise NoMutantError(f"{mutant.path} has {count} times, and not once:\n{mutant.sound}")
    return sound.replace(mutant.sound, mutant.broken)


def run_tests(tests: Iterable[str], folder: Path, environment: Mapping[str, str]) -> Verdict:
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    options = ("-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", f"--junitxml={report}")
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=False,
    )
    return read_report(report) if report.exists() else Verdict(0, (), ("pytest did not run",))


def read_report(report: Path) -> Verdict:
    root = ElementTree.parse(report).getroot()
    failures = tuple(found.get("message", "") for found in root.iter("failure"))
    errors = tuple(found.get("message", "") for found in root.iter("error"))
    return Verdict(sum(1 for _ in root.iter("testcase")) - len(failures) - len(errors), failures, errors)
