"""Adds the keys that an attack is made with to the database of the environment, and prints them as JSON."""

import json
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")
django.setup()

from django.utils import timezone  # noqa: E402 (Django is set up before what needs it is imported)

from llmhub.access.models import ApiKey, Application  # noqa: E402

REVOKED = "revoked"


def add(application: str, **fields: object) -> str:
    row, _ = Application.objects.get_or_create(name=application)
    return ApiKey.objects.issue(row, name="attack", scopes=["chat"], **fields)[1]


if __name__ == "__main__":
    made = {"caller": add("caller"), "valid": add("valid"), REVOKED: add(REVOKED, revoked_at=timezone.now())}
    print(json.dumps(made))
