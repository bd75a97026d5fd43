from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from llmhub.history.tracking import acting_as
from llmhub.people.second_factors import rotate_second_factors
from providers.management.commands.rotate_secrets import Command as RotateProviderKeys


class Command(RotateProviderKeys):
    help = RotateProviderKeys.help.replace("every provider's key", "every provider's key and every second factor")

    def handle(self, **options: Any) -> None:
        with acting_as("command rotate_secrets"):
            rotated, unreadable = rotate_second_factors()
        if rotated:
            self.stdout.write(f"Second factors encrypted again: {rotated}.")
        super().handle(**options)
        if unreadable:
            raise CommandError(
                f"None of LLMHUB_SECRET_KEYS decrypts the second factors of these users: {', '.join(unreadable)}. "
                "Bring the old key back, or remove them in the admin."
            )
