from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from llmhub.history.tracking import acting_as
from providers.models import ProviderConfig


class Command(BaseCommand):
    help = (
        "Encrypt every provider's key again, with the first of LLMHUB_SECRET_KEYS. To change keys: put the new one "
        "first, restart, run this, then drop the old one."
    )

    def handle(self, **_: Any) -> None:
        with acting_as("command rotate_secrets"):
            rotation = ProviderConfig.objects.rotate_secrets()
        self.stdout.write(f"Keys encrypted again: {rotation.rotated}. Already current: {rotation.current}.")
        if rotation.undecryptable:
            raise CommandError(
                "None of LLMHUB_SECRET_KEYS decrypts the keys of these providers: "
                f"{', '.join(rotation.undecryptable)}. Bring the old key back, or enter them again."
            )
