from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from providers.models import ProviderConfig


class Command(BaseCommand):
    help = (
        "Encrypt every provider's key again, with the first of LLMHUB_SECRET_KEYS. To change keys: put the new one "
        "first, restart, run this, then drop the old one."
    )

    def handle(self, **_: Any) -> None:
        rotation = ProviderConfig.objects.rotate_secrets()
        self.stdout.write(f"{rotation.rotated} keys encrypted again, {rotation.current} were current.")
        if rotation.undecryptable:
            raise CommandError(
                f"{len(rotation.undecryptable)} keys cannot be decrypted with any of LLMHUB_SECRET_KEYS: "
                f"{', '.join(rotation.undecryptable)}. Bring the old key back, or enter them again."
            )
