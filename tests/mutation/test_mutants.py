from __future__ import annotations

import subprocess
import sys

import pytest

from llmhub.embedded.options import ROOT
from tests.llmhub.embedded.processes import bare_environment
from tests.mutation.mutants import MUTANTS
from tests.mutation.running import NoMutantError, Verdict, broken_text

PROMISES = [pytest.param(mutant, id=mutant.promise) for mutant in MUTANTS]


@pytest.mark.parametrize("mutant", PROMISES)
def test_what_a_mutant_breaks_stands_in_the_code_once(mutant):
    sound = (ROOT / mutant.path).read_text()

    assert broken_text(mutant, sound) != sound
    assert all((ROOT / test.partition("::")[0]).exists() for test in mutant.tests)


@pytest.mark.parametrize("mutant", PROMISES)
def test_a_mutant_of_other_code_is_none(mutant):
    for code in ("", mutant.sound * 2):
        with pytest.raises(NoMutantError, match="and not once"):
            broken_text(mutant, code)


@pytest.mark.parametrize(
    ("verdict", "is_caught"),
    [
        pytest.param(Verdict(3, ("AssertionError: assert 1 == 2",), ()), True, id="asserted"),
        pytest.param(Verdict(3, ("Failed: DID NOT RAISE <class 'ValueError'>",), ()), True, id="not-raised"),
        pytest.param(Verdict(3, ("NameError: name 'x' is not defined",), ()), False, id="broken-code"),
        pytest.param(Verdict(0, (), ("SyntaxError",)), False, id="not-collected"),
        pytest.param(Verdict(3, (), ()), False, id="passed"),
    ],
)
def test_only_an_assertion_counts_as_noticed(verdict, is_caught):
    assert verdict.is_caught == is_caught


@pytest.mark.soak
def test_every_broken_promise_is_noticed():
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mutation"],
        cwd=ROOT,
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("  noticed") == len(MUTANTS)
