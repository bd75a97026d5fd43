"""Secrets of second factors in the database."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.db import transaction

from llmhub.access.secrets import Secret, UndecryptableSecretError

SEALED = ("secret", "seed")
"""The values that allauth encrypts through its adapter: TOTP secrets and seeds of recovery codes."""


@transaction.atomic
def rotate_second_factors() -> tuple[int, list[str]]:
    """Re-encrypt all with the first of LLMHUB_SECRET_KEYS; return how many, and the users of undecryptable ones."""
    rotated, unreadable = 0, set()
    for row in Authenticator.objects.select_for_update(of=("self",)).select_related("user"):
        try:
            rotated += _rotate(row)
        except UndecryptableSecretError:
            unreadable.add(row.user.get_username())
    return rotated, sorted(unreadable)


def _rotate(row: Authenticator) -> bool:
    secrets = {name: Secret(row.data[name]) for name in SEALED if name in row.data}
    if all(secret.is_current for secret in secrets.values()):
        return False
    row.data |= {name: secret.rotated().token for name, secret in secrets.items()}
    row.save(update_fields=["data"])
    return True
