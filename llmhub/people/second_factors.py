"""The secrets of second factors, as they stand in the database."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.db import transaction

from llmhub.access.secrets import Secret, UndecryptableSecretError

SEALED = ("secret", "seed")
"""What allauth passes through its adapter's `encrypt`: the key of an app, and what recovery codes are made of."""


@transaction.atomic
def rotate_second_factors() -> tuple[int, list[str]]:
    """Encrypt all again with the first of LLMHUB_SECRET_KEYS; return how many, and whose cannot be read."""
    rotated, unreadable = 0, set()
    for row in Authenticator.objects.select_for_update(of=("self",)).select_related("user"):
        try:
            rotated += _rotate(row)
        except UndecryptableSecretError:
            unreadable.add(row.user.get_username())
    return rotated, sorted(unreadable)


def _rotate(row: Authenticator) -> bool:
    old = {name: Secret(row.data[name]) for name in SEALED if name in row.data}
    if all(secret.is_current for secret in old.values()):
        return False
    row.data |= {name: secret.rotated().token for name, secret in old.items()}
    row.save(update_fields=["data"])
    return True
