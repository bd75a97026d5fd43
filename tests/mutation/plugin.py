"""A pytest plugin: the tests run with the mutant that the environment names."""

import os

from tests.mutation.mutants import VARIABLE, get_mutant


def pytest_sessionstart() -> None:
    """Replace the function once Django is set up, and before the first test is imported."""
    get_mutant(os.environ[VARIABLE]).install()
