"""Derive a process's role from its command line. Needs no settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def process_role(argv: Sequence[str]) -> str:
    """Return the role: web, bulk, worker, beat, or the command of manage.py."""
    path = Path(argv[0] if argv else "")
    program = path.parent.name if path.stem == "__main__" else path.stem
    arguments = [argument for argument in argv[1:] if not argument.startswith("-")]
    if program == "uvicorn":
        return "web"
    if program == "bulk_process":
        return "bulk"
    if program == "celery":
        return next((argument for argument in arguments if argument in ("worker", "beat")), program)
    return arguments[0] if program == "manage" and arguments else program
