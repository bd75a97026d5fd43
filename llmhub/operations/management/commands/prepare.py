from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, OperationalError, ProgrammingError
from django.utils import timezone

from llmhub.access.keys import RULE, is_strong
from llmhub.operations import bootstrap, grants
from llmhub.runtime.database import owner_alias


class Command(BaseCommand):
    help = "Migrate the database; on the first start, create the initial data. Idempotent."
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        demo_key = _plaintext(settings.ENV.llmhub_demo_key)
        if demo_key and not is_strong(demo_key):
            raise CommandError(f"LLMHUB_DEMO_KEY must be {RULE}.")
        password = _plaintext(settings.ENV.llmhub_admin_password)
        if fault := password and bootstrap.password_fault(password):
            raise CommandError(f"LLMHUB_ADMIN_PASSWORD: {fault}")
        owner = owner_alias()
        try:
            self.prepare(owner, password, demo_key)
        except (OperationalError, ProgrammingError) as error:
            variable = "DATABASE_OWNER_URL" if owner == "owner" else "DATABASE_URL"
            raise CommandError(
                f"The database that {variable} names cannot be prepared: {str(error).strip()}"
            ) from error

    def prepare(self, owner: str, password: str, demo_key: str) -> None:
        with grants.exclusive_lock(owner, on_wait=lambda: self.say("Another `prepare` is running: waiting for it.")):
            self.say(grants.migrate(owner))
            if owner != DEFAULT_DB_ALIAS:
                self.say(grants.grant(owner, to=settings.DATABASES[DEFAULT_DB_ALIAS]["USER"]))
            self.say(bootstrap.create_admin(password))
            self.say(bootstrap.create_demo_application(demo_key))
            key = _plaintext(settings.ENV.llmhub_local_model_key)
            self.say(bootstrap.sync_local_provider(settings.ENV.llmhub_local_model_url, key=key, now=timezone.now()))

    def say(self, line: str) -> None:
        if line:
            self.stdout.write(line)


def _plaintext(secret: Any) -> str:
    return secret.get_secret_value() if secret else ""
