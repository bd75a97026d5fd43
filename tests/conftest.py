"""What tests of every part use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.conf import settings
from django.core import serializers
from django.db import connection, transaction
from django.test.utils import setup_databases, teardown_databases
from pytest_django.plugin import DjangoDbBlocker

from llmhub.runtime.live_snapshot import CONFIGURATION
from tests.fakes import FakeProvider
from tests.live import LiveHub

MADE_BY_MIGRATIONS = (
    "auth.Group",
    "providers.ProviderConfig",
    "django_celery_beat.IntervalSchedule",
    "django_celery_beat.CrontabSchedule",
    "django_celery_beat.PeriodicTask",
)


def pytest_configure() -> None:
    """Hash passwords fast: slowness is what protects real ones."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what migrations made come back after tests that end with a flush."""
    for item in items:
        marker = item.get_closest_marker("django_db")
        if marker and marker.kwargs.get("transaction"):
            item.fixturenames.insert(0, "unflushed")  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Make the test database also for tests that meet it through the running hub alone."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
        let_tables_be_flushed()
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


def let_tables_be_flushed() -> None:
    """Let tests that commit end with a TRUNCATE, which the history refuses even to its owner."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'history_no_truncate'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER history_no_truncate")


@pytest.fixture(scope="module", autouse=True)
def nothing_listens_on() -> Iterator[None]:
    """Stop the follower of this process, which pages may have started: it would read while others flush tables."""
    yield
    CONFIGURATION.stop()


@pytest.fixture(scope="session")
def made_by_migrations(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> str:
    with django_db_blocker.unblock():
        rows = [row for name in MADE_BY_MIGRATIONS for row in apps.get_model(name).objects.all()]
        return serializers.serialize("json", rows, use_natural_foreign_keys=True)


@pytest.fixture
def unflushed(made_by_migrations: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    yield
    with django_db_blocker.unblock(), transaction.atomic():
        for row in serializers.deserialize("json", made_by_migrations):
            row.save()


@pytest.fixture(scope="session")
def running_hub(
    django_db_setup: None, made_by_migrations: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[LiveHub]:
    with django_db_blocker.unblock(), LiveHub() as hub:
        yield hub


@pytest.fixture
def hub(running_hub: LiveHub) -> Iterator[LiveHub]:
    """A running hub, configured as its migrations leave it. What tests write through it is committed."""
    running_hub.reset()
    yield running_hub
    running_hub.reset()


@pytest.fixture
def upstream() -> Iterator[FakeProvider]:
    """A scripted provider that speaks OpenAI's format."""
    with FakeProvider("custom") as fake:
        yield fake
