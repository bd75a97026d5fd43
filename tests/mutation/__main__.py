"""`make mutants`: break the hub's promises one by one, and see that its tests notice each."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tests.mutation.mutants import MUTANTS, Mutant
from tests.mutation.running import Verdict, run_tests, run_with_mutant
from tests.stack import environment


def main() -> int:
    with environment() as variables:
        sound = run_tests(dict.fromkeys(test for mutant in MUTANTS for test in mutant.tests), variables)
        if not sound.is_sound:
            print("The tests fail without any change:", *sound.failures, *sound.errors, sep="\n  ")
            return 1
        print(f"{sound.passed} tests pass on the code as it is. What they say when a promise is broken:\n", flush=True)
        survivors = [mutant for mutant in MUTANTS if not is_caught(mutant, variables)]
    print(f"\n{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} broken promises are noticed.")
    return 1 if survivors else 0


def is_caught(mutant: Mutant, variables: Mapping[str, str]) -> bool:
    """Run the tests of one mutant, and print a line about it."""
    began_s = time.monotonic()
    verdict = run_with_mutant(mutant, variables)
    word = "noticed" if verdict.is_caught else "NOT NOTICED"
    print(f"  {word:<11}  {time.monotonic() - began_s:4.1f} s  {mutant.promise}", flush=True)
    if not verdict.is_caught:
        print(f"               {said(verdict)}", flush=True)
    return verdict.is_caught


def said(verdict: Verdict) -> str:
    return (*verdict.errors, *verdict.failures, "every test passed")[0]


if __name__ == "__main__":
    sys.exit(main())
