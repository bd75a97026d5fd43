"""`make hops`: count the calls of our own functions for one chat, from socket to socket.

HOPS_JSON    a file for the numbers, as JSON
HOPS_TRACE=1 also list every function that was called, by file
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import django
from django.test.utils import setup_databases, teardown_databases

from tests.hops.counting import CallCounter

ROOT = Path(__file__).parents[2]
PACKAGES = ("llmhub", "providers", "chat")


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")
    django.setup()
    from tests.hops import report  # what it imports needs Django set up
    from tests.hops.chats import HopsError, measure

    logging.disable(logging.INFO)
    databases = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    try:
        hops = measure(CallCounter(ROOT, *PACKAGES))
    except HopsError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        teardown_databases(databases, verbosity=0)
    if os.environ.get("HOPS_TRACE") == "1":
        print(f"{report.trace(hops)}\n")
    print(report.table(hops))
    if path := os.environ.get("HOPS_JSON"):
        Path(path).write_text(json.dumps(report.as_json(hops), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
