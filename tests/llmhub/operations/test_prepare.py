from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connection, transaction
from pydantic import SecretStr

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from llmhub.access.secrets import MisplacedSecretError
from llmhub.history.describe import event_models
from llmhub.history.models import Change
from llmhub.operations import grants
from llmhub.operations.grants import LOCK
from llmhub.runtime.database import conninfo
from providers.manager import get_provider_manager
from providers.models import Health, ProviderConfig
from tests.live import until
from tests.providers.admin.rows import stored_key

pytestmark = pytest.mark.django_db

PASSWORD = "canary-password-4711"
KEY = "lh_canary-key-4711-4711"
URL = "http://127.0.0.1:9999/v1"
MOVED_URL = "http://127.0.0.1:9998/v1"


@pytest.fixture
def prepare(settings: Any) -> Any:
    environment = settings.ENV

    def run(
        *, password: str = PASSWORD, key: str = KEY, url: str = URL, model_key: str = "", out: StringIO | None = None
    ) -> str:
        settings.ENV = environment.model_copy(
            update={
                "llmhub_admin_password": SecretStr(password) if password else None,
                "llmhub_demo_key": SecretStr(key) if key else None,
                "llmhub_local_model_url": url,
                "llmhub_local_model_key": SecretStr(model_key) if model_key else None,
            }
        )
        out = out or StringIO()
        call_command("prepare", stdout=out)
        return out.getvalue()

    return run


def local() -> ProviderConfig:
    return ProviderConfig.objects.get(name="local")


def test_the_first_start_makes_what_a_hub_begins_with(prepare):
    said = prepare()

    key = ApiKey.objects.get()
    assert User.objects.get(is_superuser=True).check_password(PASSWORD)
    assert (key.application.name, set(key.scopes), key.expires_at) == ("demo", set(Scope.values), None)
    assert ApiKey.objects.find_entry(KEY) is not None
    assert (local().base_url, local().default_model, local().timeout) == (URL, "smollm2", 300)
    assert [(m.name, m.capabilities) for m in local().models.all()] == [("smollm2", ["chat"])]
    assert PASSWORD not in said
    assert KEY not in said


def test_a_second_start_has_nothing_to_do(prepare):
    prepare()

    assert prepare(password="another-password", key="lh_another-canary-key-4711") == ""

    assert User.objects.get().check_password(PASSWORD)
    assert ApiKey.objects.count() == 1


def test_what_an_admin_deleted_stays_deleted(prepare):
    prepare()
    User.objects.all().delete()
    Application.objects.all().delete()
    ProviderConfig.objects.all().delete()

    assert prepare() == ""
    assert prepare(url=MOVED_URL) == ""

    assert (User.objects.count(), Application.objects.count(), ProviderConfig.objects.count()) == (0, 0, 0)


def test_nothing_is_made_beside_what_people_made_before(prepare):
    User.objects.create_user("ann")
    Application.objects.create(name="demo")
    get_provider_manager().register_provider("local", provider_type="custom", base_url="http://localhost:1/v1")

    assert prepare() == ""

    assert (User.objects.count(), ApiKey.objects.count()) == (1, 0)
    assert local().base_url == "http://localhost:1/v1"


def test_without_secrets_and_model_only_the_tables_are_seen_to(prepare):
    assert prepare(password="", key="", url="") == ""

    assert (User.objects.count(), Application.objects.count(), ProviderConfig.objects.count()) == (0, 0, 1)


@pytest.mark.parametrize("key", ["has a space and is long enough", "0777", "a" * 40])
def test_a_key_that_could_never_be_presented_or_be_guessed_is_refused(prepare, key):
    with pytest.raises(CommandError, match="LLMHUB_DEMO_KEY must be 20 to 256") as refusal:
        prepare(key=key)

    assert key not in str(refusal.value)
    assert not User.objects.exists()


@pytest.mark.parametrize("password", ["admin", "letmein", "password1234", "123456789012", "administrator"])
def test_a_password_that_could_be_guessed_is_refused(prepare, password):
    with pytest.raises(CommandError, match="LLMHUB_ADMIN_PASSWORD: ") as refusal:
        prepare(password=password)

    assert password not in str(refusal.value)

    assert not User.objects.exists()


def test_the_local_provider_follows_the_model(prepare):
    prepare()
    ProviderConfig.objects.filter(name="local").update(health=Health.UNHEALTHY, priority=3)

    assert MOVED_URL in prepare(url=MOVED_URL)

    assert (local().base_url, local().health, local().priority) == (MOVED_URL, Health.UNKNOWN, 3)


def test_the_local_provider_has_the_models_key_follows_it_and_keeps_it_where_none_is_told(prepare):
    for told, stored in (("model-key-1", "model-key-1"), ("model-key-2", "model-key-2"), ("", "model-key-2")):
        said = prepare(model_key=told)

        assert stored_key(local()) == stored
        assert "model-key" not in said


def test_a_local_model_that_moves_takes_its_key_along(prepare):
    prepare(model_key="model-key-1")

    prepare(url=MOVED_URL, model_key="model-key-2")

    assert (local().base_url, stored_key(local())) == (MOVED_URL, "model-key-2")


def test_the_models_key_is_not_given_to_where_an_admin_sent_the_provider(prepare):
    prepare(model_key="model-key-1")
    ProviderConfig.objects.filter(name="local").update(base_url="http://localhost:1/v1")

    prepare(url=MOVED_URL, model_key="model-key-2")
    prepare(url=MOVED_URL, model_key="model-key-3")

    with pytest.raises(MisplacedSecretError):
        stored_key(local())


def test_the_local_provider_is_off_while_there_is_no_model(prepare):
    prepare()

    prepare(url="")
    while_away = local().enabled
    prepare(url="")
    prepare(url=MOVED_URL)

    assert while_away is False
    assert (local().enabled, local().base_url) == (True, MOVED_URL)


def test_a_local_provider_that_an_admin_switched_off_stays_off(prepare):
    prepare()
    ProviderConfig.objects.filter(name="local").update(enabled=False)

    prepare(url="")
    prepare(url=MOVED_URL)

    assert (local().enabled, local().base_url) == (False, MOVED_URL)


def test_a_local_provider_that_an_admin_sent_elsewhere_is_left_alone(prepare):
    prepare()
    ProviderConfig.objects.filter(name="local").update(base_url="http://localhost:1/v1")

    prepare(url="")
    prepare(url=MOVED_URL)

    assert (local().enabled, local().base_url) == (True, "http://localhost:1/v1")


def test_a_model_that_appears_later_gets_its_provider_then(prepare):
    prepare(url="")

    prepare()

    assert local().base_url == URL


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_the_second_waits_and_finds_nothing_to_do(prepare):
    prepare()
    out = StringIO()

    def run_in_thread() -> str:
        try:
            return prepare(out=out)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, psycopg.connect(conninfo()) as other:
        other.execute(LOCK.format("pg_advisory_lock"))
        second = pool.submit(run_in_thread)
        until(lambda: "waiting" in out.getvalue())
        assert not second.done()
        other.close()

        assert second.result(timeout=10) == "Another `prepare` is running: waiting for it.\n"


LOGIN = "llmhub_test_login"
REFUSED = [
    "INSERT INTO ledger_ledgerevent DEFAULT VALUES",
    "UPDATE ledger_ledgerevent SET kind = 'void'",
    "DELETE FROM ledger_ledgerevent",
    "TRUNCATE ledger_ledgerevent",
    "DELETE FROM ledger_chatcontent",
    "UPDATE ledger_ledgerwriterrecord SET last_seq = 0",
    "DELETE FROM django_migrations",
    "UPDATE people_trackeduserevent SET username = 'nobody'",
    "DELETE FROM providers_providerconfigevent",
    "INSERT INTO access_apikeyevent SELECT * FROM access_apikeyevent",
    "TRUNCATE access_apikeyevent",
    "UPDATE chat_chat SET status = 'failed'",
    "CREATE TABLE another (id int)",
    "ALTER TABLE providers_providerconfig DISABLE TRIGGER ALL",
]


@pytest.fixture
def granted_login() -> Iterator[str]:
    """Act as the application's user; yield what was said when it was granted its rights."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {LOGIN} LOGIN")
        said = grants.grant(DEFAULT_DB_ALIAS, to=LOGIN)
        cursor.execute(f"SET LOCAL ROLE {LOGIN}")
        yield said
        cursor.execute("RESET ROLE")


def test_the_application_may_work_with_every_table_that_django_manages_and_its_cache(granted_login):
    managed = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [*managed, "django_cache"]
    kept = {"chat_chat", *(model._meta.db_table for model in event_models())}
    rights = ", ".join(f"has_table_privilege(name, '{right}')" for right in ("SELECT", "INSERT", "UPDATE", "DELETE"))

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name, {rights} FROM unnest(%s::text[]) AS name", (tables,))
        found = cursor.fetchall()

    assert granted_login == f"Granted llmhub_app {len(tables)} tables."
    assert found == [(name, True, *[name not in kept] * 3) for name in tables]


@pytest.mark.parametrize("statement", REFUSED)
def test_the_application_may_not_touch_the_ledger_or_the_schema(granted_login, statement):
    refused = pytest.raises(ProgrammingError, match=r"permission denied|must be owner")

    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_application_reads_the_ledger_and_what_is_migrated(granted_login):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger_ledgerevent, django_migrations")

        assert cursor.fetchone()[0] >= 0


def test_what_the_application_may_do_beyond_reading_the_history_is_taken_away(db):
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {LOGIN} LOGIN")
        grants.grant(DEFAULT_DB_ALIAS, to=LOGIN)
        cursor.execute("GRANT INSERT, DELETE, TRUNCATE, TRIGGER ON access_apikeyevent TO llmhub_app")

    said = grants.grant(DEFAULT_DB_ALIAS, to=LOGIN)

    assert said == "Granted llmhub_app 1 tables."
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_table_privilege('llmhub_app', 'access_apikeyevent', 'INSERT, DELETE, TRUNCATE, TRIGGER')"
        )
        assert cursor.fetchone() == (False,)


def test_the_application_changes_the_configuration_and_reads_its_history(granted_login):
    User.objects.create_user("ann").delete()

    assert list(Change.objects.filter(model="auth.User").values_list("kind", flat=True)[:2]) == ["deleted", "added"]


def test_granting_again_grants_nothing(db):
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {LOGIN} LOGIN")
    grants.grant(DEFAULT_DB_ALIAS, to=LOGIN)

    assert grants.grant(DEFAULT_DB_ALIAS, to=LOGIN) == ""


@pytest.mark.parametrize("variable", ["DATABASE_URL", "DATABASE_OWNER_URL"])
def test_a_database_that_cannot_be_reached_is_told_in_a_sentence(variable):
    tried = subprocess.run(
        [sys.executable, "manage.py", "prepare"],
        env={**os.environ, variable: "postgresql://nobody@127.0.0.1:9/nothing"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert tried.returncode == 1
    assert f"The database that {variable} names cannot be prepared: " in tried.stderr
    assert "Traceback" not in tried.stderr
