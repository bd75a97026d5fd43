from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from llmhub.operations.models import Heartbeat, Service


class Command(BaseCommand):
    help = "Fail unless a background process has a recent heartbeat: a health check for containers."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("part", choices=Service.values)

    def handle(self, *, part: str, **_: Any) -> None:
        if part not in Heartbeat.objects.alive(now=timezone.now()):
            raise CommandError(f"{part} has not shown that it works.")
