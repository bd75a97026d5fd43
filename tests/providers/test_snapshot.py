import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from decimal import Decimal

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from llmhub.access.keys import key_digest
from llmhub.access.models import ApiKey, Application
from llmhub.runtime.database import conninfo
from llmhub.runtime.live_snapshot import CHANNEL, RECONNECT_S
from providers.models import Health, ProviderConfig, ProviderModel
from providers.snapshot import load_snapshot
from providers.types import Price, ProviderType
from tests.live import until
from tests.live_configuration import LiveConfiguration, stored

PLAIN = "sk-canary-of-the-tests"
KEY = "lh_a-key-of-the-tests"


def issue_key(**fields):
    application, _ = Application.objects.get_or_create(name="support-bot")
    row, _ = ApiKey.objects.issue(application, name="test", key=KEY, scopes=["chat"], **fields)
    return row


def test_a_provider_stands_in_the_snapshot_with_all_that_routing_needs(config):
    row = config.add(
        "acme", provider_type="openai", api_key=PLAIN, base_url="", default_model="large", is_default=True, priority=7,
        rate_limit=60, timeout=9, settings={"project": "p"}, enabled=False, health=Health.DEGRADED,
    )  # fmt: skip

    entry = load_snapshot().providers["acme"]

    assert (entry.name, entry.provider_type, entry.base_url) == (
        "acme",
        ProviderType.OPENAI,
        "https://api.openai.com/v1",
    )
    assert (entry.default_model, entry.is_default, entry.priority) == ("large", True, 7)
    assert (entry.rate_limit, entry.timeout_s, entry.settings) == (60, 9, {"project": "p"})
    assert (entry.enabled, entry.health, entry.is_unhealthy) == (False, Health.DEGRADED, False)
    assert entry.api_key.reveal(place=entry.key_place) == PLAIN
    assert ProviderConfig.objects.get(pk=row.pk).api_key == entry.api_key


def test_a_snapshot_shows_no_secret(config):
    config.add("acme", provider_type="openai", api_key=PLAIN)

    shown = repr(load_snapshot())

    assert "acme" in shown
    assert PLAIN not in shown
    assert ProviderConfig.objects.get(name="acme").api_key.token not in shown


def test_models_stand_with_their_provider_and_their_prices(config):
    row = config.add("acme", models=("large",))
    config.add("other", models=("large", "small"))
    now = timezone.now()
    ProviderModel.objects.create(
        provider=row,
        name="old",
        listed=False,
        input_usd_per_mtok=Decimal("2.5"),
        output_usd_per_mtok=Decimal(10),
        first_seen_at=now,
        last_seen_at=now,
    )

    providers = load_snapshot().providers

    assert {name: set(entry.models) for name, entry in providers.items()} == {
        "acme": {"large", "old"},
        "other": {"large", "small"},
    }
    old = providers["acme"].models["old"]
    assert (old.name, old.listed, old.first_seen_at) == ("old", False, now)
    assert old.price == Price(input_usd_per_mtok=Decimal("2.5"), output_usd_per_mtok=Decimal(10))
    assert providers["acme"].models["large"].price == Price()


def test_the_default_comes_first_then_by_priority_then_by_name(config):
    for name, priority in [("d", 1), ("b", 50), ("c", 2), ("a", 50)]:
        config.add(name, priority=priority, is_default=name == "a")

    snapshot = load_snapshot()

    assert [entry.name for entry in snapshot.in_order] == ["a", "d", "c", "b"]
    assert snapshot.default_provider == "a"


def test_without_a_default_there_is_none(config):
    assert load_snapshot().default_provider is None
    config.add("acme")

    assert load_snapshot().default_provider is None


def test_a_key_stands_under_its_digest_with_what_it_allows(config):
    issue_key(allowed_providers=["acme"], allowed_models=["large"], expires_at=timezone.now())

    keys = stored().keys

    entry = keys[key_digest(KEY)]
    assert (entry.principal.application, entry.principal.api_key) == ("support-bot", KEY[:7])
    assert entry.principal.scopes == {"chat"}
    assert entry.principal.allowed_providers == {"acme"}
    assert entry.principal.allowed_models == {"large"}
    assert entry.expires_at is not None
    assert (entry.revoked_at, entry.is_active) == (None, True)
    assert KEY not in repr(keys)


def test_the_configuration_is_read_in_three_queries(config, django_assert_num_queries):
    for name in ("a", "b", "c"):
        config.add(name, models=("large", "small"))
    issue_key()

    with django_assert_num_queries(3):
        stored()


@pytest.mark.parametrize("wrong", ["provider_type = 'carrier-pigeon'", "health = 'so-so'", "settings = '5'"])
def test_a_row_that_makes_no_sense_is_left_out_and_costs_no_other(config, caplog, wrong):
    config.add("acme")
    config.add("broken", api_key=PLAIN)

    config.execute(f"UPDATE providers_providerconfig SET {wrong} WHERE name = 'broken'")

    config.wait_for(lambda snapshot: set(snapshot.providers) == {"acme"})
    config.add("later")
    assert "broken" in caplog.text
    assert PLAIN not in caplog.text


CHANGES = [
    pytest.param(lambda: ProviderConfig(name="new", provider_type="ollama").save(), "new", True, id="save"),
    pytest.param(lambda: ProviderConfig.objects.filter(name="acme").update(name="new"), "new", True, id="update"),
    pytest.param(lambda: ProviderConfig.objects.get(name="acme").delete(), "acme", False, id="delete"),
    pytest.param(lambda: ProviderConfig.objects.all().delete(), "acme", False, id="bulk-delete"),
    pytest.param(
        lambda: ProviderConfig.objects.bulk_create([ProviderConfig(name="new", provider_type="ollama")]),
        "new",
        True,
        id="bulk-create",
    ),
]


@pytest.mark.parametrize(("change", "name", "is_there"), CHANGES)
def test_a_change_made_by_the_orm_is_known_within_a_second(config, change, name, is_there):
    config.add("acme")

    change()

    config.wait_for(lambda snapshot: (name in snapshot.providers) is is_there)


@pytest.mark.parametrize(
    ("sql", "condition"),
    [
        pytest.param(
            "UPDATE providers_providerconfig SET enabled = false",
            lambda s: not s.providers["acme"].enabled,
            id="update",
        ),
        pytest.param(
            "UPDATE providers_providerconfig SET health = 'unhealthy'",
            lambda s: s.providers["acme"].is_unhealthy,
            id="health",
        ),
        pytest.param("DELETE FROM providers_providermodel", lambda s: not s.providers["acme"].models, id="models"),
        pytest.param("TRUNCATE providers_providerconfig CASCADE", lambda s: not s.providers, id="truncate"),
        pytest.param("TRUNCATE access_application CASCADE", lambda s: not s.keys, id="truncate-keys"),
    ],
)
def test_a_change_made_by_sql_is_known_within_a_second(config, sql, condition):
    config.add("acme", models=("large",))
    issue_key()
    config.wait_for(lambda snapshot: snapshot.keys)

    config.execute(sql)

    config.wait_for(condition)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda: ApiKey.objects.revoke(now=timezone.now()), id="revoked"),
        pytest.param(lambda: Application.objects.update(is_active=False), id="application-off"),
        pytest.param(lambda: ApiKey.objects.update(expires_at=timezone.now()), id="expired"),
        pytest.param(lambda: ApiKey.objects.all().delete(), id="deleted"),
        pytest.param(lambda: Application.objects.all().delete(), id="application-deleted"),
    ],
)
def test_a_key_loses_its_force_within_a_second(config, change):
    issue_key()
    config.wait_for(lambda snapshot: snapshot.keys)
    before = config.registry.snapshot().keys[key_digest(KEY)]

    change()

    config.wait_for(lambda snapshot: snapshot.keys.get(key_digest(KEY)) != before)


@contextmanager
def announcements():
    """Yield a function that tells how often a change was announced."""
    with psycopg.connect(conninfo(), autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")

        def count():
            listener.execute(f"NOTIFY {CHANNEL}, 'end'")
            found = []
            while "end" not in found:
                found += [notify.payload for notify in listener.notifies(timeout=1, stop_after=1)]
            return len(found) - 1

        yield count


SILENT = [
    ("providers_providerconfig", "last_checked_at = now(), last_error = 'x', health_changed_at = now()"),
    ("providers_providermodel", "last_seen_at = now(), context_window = 5"),
    ("access_apikey", "name = 'other'"),
    ("access_application", "description = 'other'"),
]
TOLD = [
    *(
        ("providers_providerconfig", f"{column} = {column}")
        for column in (
            "name", "provider_type", "api_key", "base_url", "default_model", "enabled", "is_default", "priority",
            "rate_limit", "timeout", "settings", "health",
        )
    ),
    *(
        ("providers_providermodel", f"{column} = {column}")
        for column in (
            "name", "listed", "allowed", "input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok",
        )
    ),
    *(
        ("access_apikey", f"{column} = {column}")
        for column in ("digest", "scopes", "allowed_providers", "allowed_models", "expires_at", "revoked_at")
    ),
    ("access_application", "is_active = is_active"),
    ("access_application", "name = name"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "assignment"), SILENT)
def test_what_nobody_holds_in_memory_is_not_announced(config, table, assignment):
    config.add("acme", models=("large",))
    issue_key()

    with announcements() as count:
        config.execute(f"UPDATE {table} SET {assignment}")

        assert count() == 0


@pytest.mark.parametrize(("table", "assignment"), TOLD)
def test_what_is_held_in_memory_is_announced(config, table, assignment):
    config.add("acme", models=("large",))
    issue_key()

    with announcements() as count:
        config.execute(f"UPDATE {table} SET {assignment}")

        assert count() == 1


def test_a_change_that_is_rolled_back_is_never_seen(config):
    config.add("acme")

    with psycopg.connect(conninfo()) as other:
        other.execute("UPDATE providers_providerconfig SET enabled = false")
        other.rollback()
    config.add("later")

    assert config.registry.snapshot().providers["acme"].enabled


def test_a_snapshot_in_hand_never_changes(config):
    config.add("acme")
    before = config.registry.snapshot()

    config.change("acme", priority=1)

    assert before.providers["acme"].priority == 100
    assert config.registry.snapshot().providers["acme"].priority == 1


def test_the_last_configuration_stays_in_force_while_the_database_cannot_tell(config, caplog):
    config.add("acme")
    config.execute("ALTER TABLE providers_providermodel RENAME TO elsewhere")
    try:
        config.execute("UPDATE providers_providerconfig SET enabled = false")
        until(lambda: "the last known one stays in force" in caplog.text)
        assert config.registry.snapshot().providers["acme"].enabled
    finally:
        config.execute("ALTER TABLE elsewhere RENAME TO providers_providermodel")
    config.execute(f"NOTIFY {CHANNEL}")

    config.wait_for(lambda snapshot: not snapshot.providers["acme"].enabled)


def test_a_row_that_cannot_even_be_read_does_not_end_the_listening(config, caplog):
    config.add("acme")
    config.execute("""UPDATE providers_providerconfig SET settings = (repeat('[', 3000) || repeat(']', 3000))::jsonb""")
    until(lambda: "the last known one stays in force" in caplog.text)

    config.execute("UPDATE providers_providerconfig SET settings = '{}', priority = 1")

    config.wait_for(lambda snapshot: snapshot.providers["acme"].priority == 1)


def test_nobody_waits_for_a_database_that_is_slow_to_tell(config):
    config.add("acme")

    with psycopg.connect(conninfo()) as other:
        other.execute("LOCK TABLE providers_providerconfig IN ACCESS EXCLUSIVE MODE")
        config.execute(f"NOTIFY {CHANNEL}")
        began_s = time.monotonic()
        assert "acme" in config.registry.snapshot().providers
        assert time.monotonic() - began_s < 2


LISTENERS = """SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND query = 'LISTEN llmhub_config' AND pid <> pg_backend_pid()"""


def listeners():
    with connection.cursor() as cursor:
        cursor.execute(LISTENERS)
        return {pid for (pid,) in cursor.fetchall()}


def end_listeners():
    """End them as a restart of the server would, and wait until they are gone."""
    with connection.cursor() as cursor:
        for pid in listeners():
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def test_a_listener_whose_connection_is_lost_comes_back(config, caplog):
    config.add("acme")
    before = listeners()
    end_listeners()
    until(lambda: "Changes of the configuration are not heard" in caplog.text)
    ProviderConfig.objects.filter(name="acme").update(priority=1)

    assert config.registry.snapshot().providers["acme"].priority == 100
    until(lambda: config.registry.snapshot().providers["acme"].priority == 1)
    until(lambda: listeners() and not listeners() & before)
    config.change("acme", priority=2)
    assert config.registry.snapshot().providers["acme"].priority == 2


@contextmanager
def no_new_connections():
    name = connection.settings_dict["NAME"]
    with psycopg.connect(conninfo(dbname="postgres"), autocommit=True) as other:
        other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            yield
        finally:
            other.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_a_database_that_lets_nobody_in_leaves_the_last_configuration_in_force_and_is_told_of_once(config, caplog):
    config.add("acme")

    with no_new_connections():
        end_listeners()
        config.execute("UPDATE providers_providerconfig SET priority = 1")
        until(lambda: "Changes of the configuration are not heard" in caplog.text)
        time.sleep(3 * RECONNECT_S)  # so that it has tried again in vain, of which nothing is said
        assert config.registry.snapshot().providers["acme"].priority == 100

    until(lambda: "Changes of the configuration are heard again" in caplog.text)
    assert config.registry.snapshot().providers["acme"].priority == 1
    assert caplog.text.count("Changes of the configuration are not heard") == 1
    assert "password" not in caplog.text


def test_the_first_question_reads_the_configuration_and_a_stopped_registry_can_start_again(config):
    config.add("acme")
    registry = LiveConfiguration()

    assert set(registry.snapshot().providers) == {"acme"}
    registry.stop()
    ProviderConfig.objects.filter(name="acme").update(name="renamed")

    assert set(registry.snapshot().providers) == {"renamed"}
    registry.stop()


def listening_threads():
    return {thread for thread in threading.enumerate() if thread.name == "config"}


def test_many_that_ask_first_at_once_start_one_listener(config):
    registry = LiveConfiguration()
    before = listening_threads()

    threads = [threading.Thread(target=registry.snapshot) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(listening_threads() - before) == 1
    registry.stop()
    assert listening_threads() == before


class Follower:
    """Another process that follows the configuration."""

    def __init__(self):
        environment = {**os.environ, "DATABASE_URL": conninfo()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.providers.following", KEY],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.seen = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.seen.put(json.loads(line))

    def sees(self, condition, *, within_s=1.0):
        """Wait until it sees such a configuration, and return how long it took."""
        began_s = time.monotonic()
        while not condition(self.seen.get(timeout=max(0.001, began_s + within_s - time.monotonic()))):
            pass
        return time.monotonic() - began_s

    def end(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()


@pytest.fixture
def follower(config):
    issue_key()
    follower = Follower()
    yield follower
    follower.end()


def test_another_process_knows_of_a_change_and_of_a_revoked_key_within_a_second(config, follower):
    follower.sees(lambda seen: seen == {"providers": [], "refusal": ""}, within_s=20)

    config.add("acme")
    follower.sees(lambda seen: seen["providers"] == ["acme"])
    ProviderConfig.objects.filter(name="acme").update(name="renamed")
    follower.sees(lambda seen: seen["providers"] == ["renamed"])
    ApiKey.objects.revoke(now=timezone.now())
    follower.sees(lambda seen: "revoked" in seen["refusal"])
