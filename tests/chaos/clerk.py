"""Reaps and rebuilds chats with the hub's own functions, one line of standard input for each time."""

import os
import sys
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")
django.setup()

from django.db import connection  # noqa: E402 (Django is set up before what needs it is imported)

from chat.ledger.reaper import reap_open_chats  # noqa: E402
from chat.ledger.rebuild import rebuild_chats  # noqa: E402

WORKS = {
    "reap": lambda: reap_open_chats(silent_for=timedelta(0)),
    "rebuild": lambda: sum(rebuild_chats(batch_chats=500)),
}

for line in sys.stdin:
    print(WORKS[line.strip()](), flush=True)
    connection.close()
