"""Reaps and rebuilds chats with the hub's own functions, one line of standard input for each time."""

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")
django.setup()

from django.db import connections  # noqa: E402 (Django is set up before what needs it is imported)

from chat.history.rebuild import rebuild_chats  # noqa: E402
from chat.ledger.reaper import reap_open_chats  # noqa: E402
from llmhub.runtime.database import owner_alias  # noqa: E402


def reap() -> int:
    """Close what is open without waiting a minute: only the owner can say that a writer has been silent for so long."""
    with connections[owner_alias()].cursor() as cursor:
        cursor.execute("UPDATE ledger_ledgerwriterrecord SET last_seen_at = last_seen_at - interval '1 minute'")
    return reap_open_chats()


WORKS = {
    "reap": reap,
    "rebuild": lambda: sum(rebuild_chats(batch_chats=500)),
}

for line in sys.stdin:
    print(WORKS[line.strip()](), flush=True)
    connections.close_all()
