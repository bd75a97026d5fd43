"""SQL that would change the configuration and leave nothing in its history, or something else than what happened."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, Permission, User
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from llmhub.access.models import ApiKey, Application
from llmhub.history.describe import CHANGED, Event, event_models, find_event_model, is_link, tracked_model
from providers.models import ProviderConfig
from tests.attacks.hub_role import LOGIN, HubRole, hub_role

__all__ = ["hub_role"]

pytestmark = pytest.mark.django_db

ELSEWHERE = "http://127.0.0.1:9/v1"
DIVERT = f"UPDATE providers_providerconfig SET base_url = '{ELSEWHERE}'"

# What a session may say before it changes something.
QUIETLY = [
    "SET LOCAL pgtrigger.ignore = '{pgtrigger_update_update_070e9,history_note}'",
    "SET LOCAL pgtrigger.ignore = '{history_note,providers_providerconfig:history_note}'",
    "SELECT set_config('pgtrigger.ignore', '{history_note}', true)",
    "SET LOCAL llmhub.is_rotating = 'yes'",
    "SET LOCAL search_path = pg_temp, pg_catalog, public",
    "CREATE TEMP TABLE providers_providerconfigevent AS SELECT 1 AS id",
    "SET LOCAL default_transaction_read_only = on",
    "SET LOCAL check_function_bodies = off",
    "SET CONSTRAINTS ALL DEFERRED",
]


def latest(model: Any) -> Any:
    return newest(find_event_model(model))


def newest(event_model: Any) -> Any:
    return event_model.objects.latest("pgh_id")


def in_database(query: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def application() -> Application:
    return Application.objects.create(name="support-bot")


@pytest.mark.parametrize("quietly", QUIETLY)
def test_no_setting_of_a_session_hides_a_change(hub_role, quietly):
    hub_role.run(f"{quietly}; {DIVERT.replace('UPDATE ', 'UPDATE public.')}")
    in_database("SET LOCAL search_path = public, pg_temp")

    assert latest(ProviderConfig).base_url == ELSEWHERE


def insert(hub: HubRole) -> None:
    hub.run("INSERT INTO access_application (name, description, is_active, created_at, updated_at) "
            "VALUES ('quiet', '', true, now(), now())")  # fmt: skip


def insert_or_update(hub: HubRole) -> None:
    hub.run(
        "INSERT INTO access_application (name, description, is_active, created_at, updated_at) VALUES "
        "('support-bot', '', true, now(), now()) ON CONFLICT (name) DO UPDATE SET name = 'quiet'"
    )


def merge(hub: HubRole) -> None:
    hub.run(
        "MERGE INTO access_application AS a USING (SELECT 1) AS one ON a.name = 'support-bot' "
        "WHEN MATCHED THEN UPDATE SET name = 'quiet'"
    )


def update_in_a_query(hub: HubRole) -> None:
    hub.run("WITH moved AS (UPDATE access_application SET name = 'quiet' RETURNING id) SELECT * FROM moved")


def update_in_a_block(hub: HubRole) -> None:
    hub.run("DO $$ BEGIN UPDATE access_application SET name = 'quiet'; END $$")


def copy(hub: HubRole) -> None:
    with hub.login(), connection.cursor() as cursor:
        statement = "COPY access_application (name, description, is_active, created_at, updated_at) FROM STDIN"
        with cursor.copy(statement) as lines:
            lines.write_row(["quiet", "", True, timezone.now(), timezone.now()])


@pytest.mark.parametrize("change", [insert, insert_or_update, merge, update_in_a_query, update_in_a_block, copy])
def test_no_way_of_writing_a_row_goes_by_unseen(hub_role, application, change):
    change(hub_role)

    assert latest(Application).name == "quiet"


def test_a_change_and_its_reversal_are_both_kept(hub_role):
    before = ProviderConfig.objects.get().base_url

    hub_role.run(f"{DIVERT}; UPDATE providers_providerconfig SET base_url = '{before}'")

    kept = find_event_model(ProviderConfig).objects.order_by("-pgh_id").values_list("base_url", flat=True)
    assert list(kept[:2]) == [before, ELSEWHERE]


def test_a_key_that_is_made_used_and_deleted_leaves_both_ends(hub_role, application):
    row, _ = ApiKey.objects.issue(application, name="quiet", scopes=["chat"])

    hub_role.run("DELETE FROM access_apikey WHERE id = %s", row.pk)

    kept = find_event_model(ApiKey).objects.filter(pgh_obj_id=row.pk).order_by("pgh_id")
    assert list(kept.values_list("pgh_label", flat=True)) == ["insert", "delete"]


@pytest.mark.parametrize(
    ("statement", "model", "label"),
    [
        ("UPDATE access_apikey SET digest = repeat('0', 64)", ApiKey, "digest_changed"),
        ("UPDATE auth_user SET password = 'x'", User, "password_changed"),
        ("""UPDATE mfa_authenticator SET data = '{"secret": "x"}'""", Authenticator, "data_changed"),
        ("UPDATE providers_providerconfig SET api_key = 'x'", ProviderConfig, "update"),
    ],
)
def test_that_a_secret_was_replaced_is_kept_and_the_secret_is_not(hub_role, application, statement, model, label):
    ApiKey.objects.issue(application, name="first", scopes=["chat"])
    Authenticator.objects.create(user=User.objects.create_user("ann"), type="totp", data={"secret": "canary"})
    ProviderConfig.objects.get().change({"api_key": "canary"})
    before = latest(model).pgh_id

    hub_role.run(statement)

    kept = latest(model)
    assert (kept.pgh_label, kept.pgh_id > before) == (label, True)
    assert "canary" not in str(vars(kept))


def test_a_key_that_is_replaced_as_if_keys_were_rotated_is_a_key_that_changed(hub_role):
    ProviderConfig.objects.get().change({"api_key": "canary"})
    before = latest(ProviderConfig)

    hub_role.run("SET LOCAL llmhub.is_rotating = 'yes'; UPDATE providers_providerconfig SET api_key = 'another'")

    assert latest(ProviderConfig).pgh_id > before.pgh_id
    assert latest(ProviderConfig).api_key_set_at > before.api_key_set_at
    assert latest(ProviderConfig).pgh_session["login"] == LOGIN


def test_a_membership_that_is_moved_is_taken_from_one_and_given_to_another(hub_role):
    ann, bob = User.objects.create_user("ann"), User.objects.create_user("bob")
    ann.groups.add(Group.objects.get(name="Admin"))

    hub_role.run("UPDATE auth_user_groups SET user_id = %s", bob.pk)

    kept = TRACKED["people_trackedusergroupevent"].objects.order_by("-pgh_id")[:2]
    assert [(event.pgh_label, event.user_id) for event in kept] == [("added", bob.pk), ("removed", ann.pk)]


def test_a_permission_given_by_sql_is_kept(hub_role):
    ann = User.objects.create_user("ann")
    permission = Permission.objects.get(codename="view_chat")

    hub_role.run(
        "INSERT INTO auth_user_user_permissions (user_id, permission_id) VALUES (%s, %s)", ann.pk, permission.pk
    )

    assert newest(TRACKED["people_trackeduserpermissionevent"]).permission_id == permission.pk


# --- by its own hand

TRACKED = {model._meta.db_table: model for model in event_models()}


@pytest.mark.parametrize("table", TRACKED)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} SELECT * FROM {}",
        "INSERT INTO {} (pgh_created_at, pgh_label) VALUES (now(), 'insert')",
        "UPDATE {} SET pgh_label = 'x'",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "COPY {} FROM STDIN",
        "LOCK TABLE {} IN ROW EXCLUSIVE MODE",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
    ],
)
def test_the_hub_writes_no_row_of_history_itself(hub_role, table, statement):
    assert hub_role.is_denied(statement.replace("{}", table))


@pytest.mark.parametrize("call", ["history_note()", "history_keep('auth_user', 'auth_user', '{}')", "history_refuse()"])
def test_what_keeps_the_history_cannot_be_called(hub_role, call):
    assert hub_role.is_denied(f"SELECT {call}")


@pytest.mark.parametrize("events", TRACKED)
def test_its_owner_changes_nothing_of_it_whatever_is_set(events):
    tracked = tracked_model(TRACKED[events])._meta.db_table
    in_database(f"ALTER TABLE {events} ENABLE ALWAYS TRIGGER history_no_truncate")
    in_database(f"ALTER TABLE {tracked} ENABLE ALWAYS TRIGGER history_no_truncate")

    for statement in (f"UPDATE {events} SET pgh_label = 'x'", f"DELETE FROM {events}", f"TRUNCATE {events}",
                      f"TRUNCATE {tracked} CASCADE"):  # fmt: skip
        for quietly in (*QUIETLY[:4], "SET LOCAL session_replication_role = replica"):
            with pytest.raises(DatabaseError, match="only grows"), transaction.atomic():
                in_database(f"{quietly}; {statement}")


@pytest.mark.parametrize("events", TRACKED)
def test_every_tracked_table_has_its_triggers_and_they_fire_in_every_mode(events: str):
    model = TRACKED[events]
    tracked = tracked_model(model)._meta.db_table
    query = "SELECT tgname, tgenabled, encode(tgargs, 'escape') FROM pg_trigger WHERE tgrelid = %s::regclass"

    found = {name: (mode, arguments) for name, mode, arguments in in_database(query, tracked)}
    guards = {name: mode for name, mode, _ in in_database(query, events)}

    labels = [tracker.label for tracker in model.pgh_trackers]  # type: ignore[attr-defined]
    secrets = ",".join(label.removesuffix(CHANGED) for label in labels if label.endswith(CHANGED))
    assert found["history_note"] == ("A", f"{events}\\000{{{secrets}}}\\000")
    assert guards["history_no_change"] == "A"
    assert "history_no_truncate" in found
    assert "history_no_truncate" in guards


def test_what_is_kept_are_columns_of_the_row_that_it_is_kept_of():
    for model in event_models():
        columns = {field.column for field in model._meta.fields if not field.name.startswith("pgh_")}

        assert columns <= {field.column for field in tracked_model(model)._meta.fields}


def test_no_table_of_events_is_filled_by_another_mechanism():
    assert in_database("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'pgtrigger%%'") == []
    assert in_database("SELECT proname FROM pg_proc WHERE prosrc LIKE '%%pgtrigger%%' AND proname !~ '^history'") == []


# --- in whose name


def test_a_name_that_a_session_claims_stands_beside_what_the_database_knows_of_it(hub_role):
    claim = """{"actor": "admin", "path": "/admin/providers/providerconfig/1/change/"}"""

    hub_role.run(f"SET LOCAL pghistory.context_metadata = '{claim}'; SET LOCAL application_name = 'psql'; {DIVERT}")

    kept = latest(ProviderConfig)
    (pid,) = in_database("SELECT pg_backend_pid()")[0]
    assert kept.pgh_context["actor"] == "admin"
    assert kept.pgh_session == {"login": LOGIN, "address": None, "pid": pid, "application": "psql"}


@pytest.mark.parametrize("claim", ["no json", "\\x00", "{"])
def test_a_claim_that_cannot_be_kept_is_no_way_to_change_something_without_one(hub_role, claim):
    with pytest.raises(DatabaseError), transaction.atomic():
        hub_role.run(f"SET LOCAL pghistory.context_metadata = '{claim}'; {DIVERT}")

    assert ProviderConfig.objects.get().base_url != ELSEWHERE


def test_an_owner_who_claims_a_name_is_told_by_the_login():
    in_database(f"""SET LOCAL pghistory.context_metadata = '{{"actor": "admin"}}'; {DIVERT}""")

    assert latest(ProviderConfig).pgh_session["login"] == "postgres"


def test_links_and_rows_say_alike_which_session_made_them(hub_role):
    ann = User.objects.create_user("ann")
    hub_role.run("INSERT INTO auth_user_groups (user_id, group_id) SELECT %s, min(id) FROM auth_group", ann.pk)

    event: Event = newest(TRACKED["people_trackedusergroupevent"])

    assert is_link(type(event))
    assert event.pgh_session["login"] == LOGIN  # type: ignore[attr-defined]
