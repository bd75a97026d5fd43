from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope

MAX_DAYS = 36_500


class Command(BaseCommand):
    help = (
        "Create an API key, and its application if missing; print the key, which is shown only once. "
        "If the application has a valid key of that name, create and print nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("application", help="name of the application, e.g. support-bot")
        parser.add_argument("--name", default="first key", help="where the key is used (default: %(default)s)")
        parser.add_argument(
            "--scopes",
            nargs="+",
            choices=Scope.values,
            default=[Scope.CHAT.value],
            metavar="SCOPE",
            help="what it allows: one or more of %(choices)s, separated by spaces (default: chat)",
        )
        parser.add_argument(
            "--days",
            type=int,
            default=90,
            help=f"days until it expires, at most {MAX_DAYS}; 0: never (default: %(default)s)",
        )

    @transaction.atomic
    def handle(self, *, application: str, name: str, scopes: list[str], days: int, **_: Any) -> None:
        now = timezone.now()
        if not 0 <= days <= MAX_DAYS:
            raise CommandError(f"--days: a number from 0 to {MAX_DAYS} is needed, not {days}.")
        _check("--name", ApiKey, name)
        _check("application", Application, application)
        row = self._get_application(application)
        if ApiKey.objects.live(now=now).filter(application=row, name=name).exists():
            self.stderr.write(f"The application {row.name} has the key “{name}” already; nothing was made.")
            return
        expires_at = now + timedelta(days=days) if days else None
        _key, secret = ApiKey.objects.issue(row, name=name, scopes=scopes, expires_at=expires_at)
        self.stdout.write(secret)

    def _get_application(self, name: str) -> Application:
        """Return the application, locked, so that two commands at once make one key."""
        Application.objects.get_or_create(name=name)
        return Application.objects.select_for_update().get(name=name)


def _check(argument: str, model: type[ApiKey | Application], name: str) -> None:
    """Errors: CommandError unless a row of the model may have this name."""
    try:
        model._meta.get_field("name").clean(name, None)
    except ValidationError as error:
        raise CommandError(f"{argument}: {' '.join(error.messages)}") from None
