"""The database as it stands to someone who has the hub's own login: the address in DATABASE_URL, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connection, transaction

from llmhub.operations import grants

LOGIN = "llmhub_stolen_login"


class HubRole:
    """Runs statements with the rights and the name of the hub's login, whatever they try."""

    def run(self, statement: str, *parameters: Any) -> list[Any]:
        with self.login(), connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def is_denied(self, statement: str, *parameters: Any) -> bool:
        """Whether the database refuses a statement for want of a right to it."""
        try:
            with transaction.atomic():
                self.run(statement, *parameters)
        except ProgrammingError as error:
            return isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege)
        return False

    @contextmanager
    def login(self) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL SESSION AUTHORIZATION {LOGIN}")
        yield
        with connection.cursor() as cursor:
            cursor.execute("RESET SESSION AUTHORIZATION")


@pytest.fixture
def hub_role(db: None) -> HubRole:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {LOGIN} LOGIN")
    grants.grant(DEFAULT_DB_ALIAS, to=LOGIN)
    return HubRole()
