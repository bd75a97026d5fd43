from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from inspect import isasyncgenfunction, iscoroutinefunction, signature

import pytest

from llmhub.embedded.options import ROOT
from tests.llmhub.embedded.processes import bare_environment
from tests.mutation.broken import NEXT_SEQ
from tests.mutation.mutants import MUTANTS, get_mutant
from tests.mutation.running import Verdict, run_with_mutant

PROMISES = [pytest.param(mutant, id=mutant.name) for mutant in MUTANTS]
SQL = ROOT / "chat" / "ledger" / "migrations" / "sql" / "functions.sql"


@pytest.mark.parametrize("mutant", PROMISES)
def test_a_mutant_is_called_as_the_function_that_it_replaces(mutant):
    sound, broken = mutant.sound, mutant.broken

    assert list(signature(broken).parameters) == list(signature(sound).parameters)
    assert (iscoroutinefunction(broken), isasyncgenfunction(broken)) == (
        iscoroutinefunction(sound),
        isasyncgenfunction(sound),
    )


@pytest.mark.parametrize("mutant", PROMISES)
def test_the_tests_that_notice_a_mutant_exist(mutant):
    for test in mutant.tests:
        path, _, name = test.partition("::")

        assert (f"def {name}(" if name else "def test_") in (ROOT / path).read_text()


def test_the_sql_that_a_mutant_replaces_stands_in_the_functions_once():
    assert SQL.read_text().count(NEXT_SEQ) == 1


@pytest.mark.parametrize(
    ("replaces", "error"),
    [
        pytest.param("providers.http:HttpClient._gone", AttributeError, id="function"),
        pytest.param("providers.http:Gone._send", AttributeError, id="class"),
        pytest.param("providers.gone:HttpClient._send", ModuleNotFoundError, id="module"),
    ],
)
def test_a_mutant_of_what_does_not_exist_is_not_installed(replaces, error):
    with pytest.raises(error):
        replace(get_mutant("follow_redirects"), replaces=replaces).install()


@pytest.mark.slow
def test_tests_do_not_run_with_a_mutant_that_does_not_exist():
    mutant = replace(get_mutant("follow_redirects"), name="gone", tests=("tests/mutation/test_mutants.py",))

    verdict = run_with_mutant(mutant, {})

    assert (verdict.passed, verdict.is_caught) == (0, False)
    assert "KeyError: 'gone'" in verdict.errors[0]


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
