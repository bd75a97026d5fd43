#!/usr/bin/env python
"""The hub's commands: `up` runs everything; all others are Django's."""

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run one command; `up` never loads Django, which its children need for themselves."""
    if argv[1:2] == ["up"]:
        from llmhub.embedded import up

        return up.main(argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(list(argv))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except ModuleNotFoundError as error:
        if error.name not in {"django", "psycopg"}:
            raise
        sys.exit(f"{error}, for {sys.executable}. `make run` installs what is needed; then use .venv/bin/python.")
