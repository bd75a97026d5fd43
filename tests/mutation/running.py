"""Runs tests against the code, as it is or with a mutant."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from llmhub.embedded.options import ROOT
from tests.mutation.mutants import VARIABLE, Mutant

TIMEOUT_S = 240
NOTICED = ("AssertionError", "assert ", "Failed: DID NOT RAISE")
OPTIONS = ("-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider")
TESTS_RAN = (0, 1)


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


def run_with_mutant(mutant: Mutant, environment: Mapping[str, str]) -> Verdict:
    return run_tests(mutant.tests, {**environment, VARIABLE: mutant.name}, options=("-p", "tests.mutation.plugin"))


def run_tests(tests: Iterable[str], environment: Mapping[str, str], *, options: Iterable[str] = ()) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="llmhub-mutants-") as folder:
        report = Path(folder, "report.xml")
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", *OPTIONS, *options, f"--junitxml={report}", *tests],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if ran.returncode not in TESTS_RAN:
            return Verdict(0, (), (f"pytest did not run: {(ran.stdout + ran.stderr).strip()[-500:]}",))
        return read_report(report)


def read_report(report: Path) -> Verdict:
    root = ElementTree.parse(report).getroot()
    failures = tuple(found.get("message", "") for found in root.iter("failure"))
    errors = tuple(found.get("message", "") for found in root.iter("error"))
    return Verdict(sum(1 for _ in root.iter("testcase")) - len(failures) - len(errors), failures, errors)
