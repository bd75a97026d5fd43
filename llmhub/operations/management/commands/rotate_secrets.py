from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from llmhub.history.tracking import acting_as
from llmhub.people.second_factors import rotate_second_factors
from providers.models import ProviderConfig


class Command(BaseCommand):
    help = (
        "Encrypt every provider's key and every second factor again, with the first of LLMHUB_SECRET_KEYS. To change "
        "keys: put the new one first, restart, run this, then drop the old one."
    )

    def handle(self, **_: Any) -> None:
        with acting_as("command rotate_secrets"):
            factors, unreadable_users = rotate_second_factors()
            keys = ProviderConfig.objects.rotate_secrets()
        if factors:
            self.stdout.write(f"Second factors encrypted again: {factors}.")
        self.stdout.write(f"Keys encrypted again: {keys.rotated}. Already current: {keys.current}.")
        faults = []
        if keys.undecryptable:
            faults.append(
                "None of LLMHUB_SECRET_KEYS decrypts the keys of these providers: "
                f"{', '.join(keys.undecryptable)}. Bring the old key back, or enter them again."
            )
        if unreadable_users:
            faults.append(
                "None of LLMHUB_SECRET_KEYS decrypts the second factors of these users: "
                f"{', '.join(unreadable_users)}. Bring the old key back, or remove them in the admin."
            )
        if faults:
            raise CommandError(" ".join(faults))
