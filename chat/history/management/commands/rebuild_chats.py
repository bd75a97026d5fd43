from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from chat.history.rebuild import drop_chats_without_events, rebuild_chats
from chat.history.rollups import invalidate_rollups


class Command(BaseCommand):
    help = "Derive the table of chats again from the ledger, as its owner. Chats may go on meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--batch", type=int, default=500, help="how many chats to derive at a time (500)")

    def handle(self, *, batch: int, **_: Any) -> None:
        derived = 0
        for chats in rebuild_chats(batch_chats=batch):
            derived += chats
            self.stdout.write(f"{derived} chats derived")
        dropped = drop_chats_without_events(batch_chats=batch)
        invalidate_rollups()
        self.stdout.write(f"Done: {derived} chats derived from the ledger, {dropped} rows without events dropped.")
