"""What a process is for, told by what it was started as. Needs no settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def process_role(argv: Sequence[str]) -> str:
    """Name a process by what it was started as: web, bulk, worker, beat, or the command of manage.py."""
    path = Path(argv[0] if argv else "")
    program = path.parent.name if path.stem == "__main__" else path.stem
    words = [word for word in argv[1:] if not word.startswith("-")]
    if program == "uvicorn":
        return "web"
    if program == "bulk_process":
        return "bulk"
    if program == "celery":
        return next((word for word in words if word in ("worker", "beat")), program)
    return words[0] if program == "manage" and words else program
