"""The hub's ASGI application with the mutant that the environment names; its bulk process is as ever."""

import os

from llmhub.asgi import application
from tests.mutation.mutants import VARIABLE, get_mutant

__all__ = ["application"]

get_mutant(os.environ[VARIABLE]).install()
