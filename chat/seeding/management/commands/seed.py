from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils import timezone

from chat.seeding.history import PastLedger, SeedError
from chat.seeding.seed import SeedPlan, seed
from llmhub.runtime.database import owner_alias

REPORT_S = 1.0
INTERRUPTED = 130


class Command(BaseCommand):
    help = (
        "Load made-up chats into the ledger, until there are as many as asked for. Ctrl-C stops at any time; the same "
        "command then goes on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--chats", type=int, default=1_000_000, help="how many there are to be (1000000)")
        parser.add_argument("--days", type=float, default=14, help="over how many days up to now (14)")
        parser.add_argument("--force", action="store_true", help="also on a hub that holds real chats")

    def handle(self, *, chats: int, days: float, force: bool, **_: Any) -> None:
        if chats < 1 or not 0 < days <= 365:
            raise CommandError("Give at least one chat, and between 0 and 365 days.")
        plan = SeedPlan(chats=chats, days=days, now=timezone.now())
        try:
            ledger = PastLedger(owner_alias())
            self.seed(ledger, plan, is_forced=force)
        except SeedError as error:
            raise CommandError(str(error)) from error
        except OperationalError as error:
            raise CommandError("The hub's database does not answer: is the hub running?") from error

    def seed(self, ledger: PastLedger, plan: SeedPlan, *, is_forced: bool) -> None:
        began_at = reported_at = time.monotonic()
        first = last = None
        try:
            for last in seed(ledger, plan, is_forced=is_forced):
                first = last if first is None else first
                if time.monotonic() - reported_at >= REPORT_S:
                    reported_at = time.monotonic()
                    self.report(last, plan, rate=(last - first) / (reported_at - began_at))
        except KeyboardInterrupt:
            self.stdout.write("\nStopped. The same command goes on from here.")
            sys.exit(INTERRUPTED)
        took_s = time.monotonic() - began_at
        self.stdout.write(f"\n{last:,} made-up chats after {took_s:.0f} s." if last else "There are as many already.")

    def report(self, seeded: int, plan: SeedPlan, *, rate: float) -> None:
        left_s = f", about {(plan.chats - seeded) / rate:,.0f} s left" if rate else ""
        line = f"{seeded:,} of {plan.chats:,} chats, {rate:,.0f} a second{left_s}"
        self.stdout.write(
            f"\r{line:<78}" if self.stdout.isatty() else line, ending="" if self.stdout.isatty() else "\n"
        )
        self.stdout.flush()
