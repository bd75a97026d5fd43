"""SQL with the hub's own login: what it could make of the record, and of who says what in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from chat.history.models import Chat
from chat.ledger.append import append_event
from chat.ledger.entries import APPEND, LedgerEntry, WriterIdentity, append_parameters
from chat.ledger.events import Outcome
from chat.ledger.models import ChatStatus, LedgerEvent, LedgerWriterRecord
from chat.ledger.writer import SEEN, seen_parameters
from chat.seeding.history import APPEND_AT
from llmhub.history.describe import event_models
from llmhub.runtime.database import conninfo
from tests.attacks.hub_role import LOGIN, hub_role
from tests.chat.conftest import ledger_partitions
from tests.chat.ledger.samples import make_intent, make_lost, make_outcome, make_void, new_chat_id

__all__ = ["hub_role"]

pytestmark = pytest.mark.django_db

LEDGER = ("ledger_ledgerevent", "ledger_chatcontent", "ledger_ledgerwriterrecord", "chat_chat")
SEAT_COLUMNS = {"writer_id", "role", "hostname", "pid", "started_at", "last_seen_at", "last_seq"}
FUNCTIONS = {"ledger_append", "ledger_writer_seen", "ledger_abandoned_chats", "ledger_ensure_partitions"}
WORK = {"SELECT", "INSERT", "UPDATE", "DELETE"}
READ = {"SELECT"}
LONG_AGO = "2020-01-01T00:00:00Z"

# Of every relation outside the system's schemas what the hub's login may do with it: as a whole, or with one column.
RIGHTS = """
    SELECT relname, array_agg(right_) FILTER (WHERE has_table_privilege(%s, pg_class.oid, right_))
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace,
      unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS right_
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
    GROUP BY relname
"""
COLUMNS = """
    SELECT relname, attname, right_ FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped,
      unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS right_
    WHERE relkind IN ('r', 'p', 'v') AND nspname NOT LIKE 'pg\\_%%' AND nspname <> 'information_schema'
      AND has_column_privilege(%s, pg_class.oid, attnum, right_) AND NOT has_table_privilege(%s, pg_class.oid, right_)
"""


def fetch(query: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def web_opens(identity: WriterIdentity, entry: LedgerEntry) -> None:
    """Append as a web process does that has this identity."""
    with connection.cursor() as cursor:
        cursor.execute(SEEN, seen_parameters(identity, role="web"))
        cursor.execute(APPEND, append_parameters(identity, [entry]))


@pytest.fixture
def web() -> WriterIdentity:
    return WriterIdentity()


@pytest.fixture
def open_chat(web: WriterIdentity) -> Any:
    """The id of a chat that a living web process has begun."""
    web_opens(web, make_intent(chat_id := new_chat_id()))
    return chat_id


# --- what it may do at all


def test_its_rights_to_tables_are_those_listed_here_and_no_others(hub_role):
    managed = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    kept = {model._meta.db_table for model in event_models()} | {"chat_chat"}
    expected = {name: READ if name in kept else WORK for name in managed | {"django_cache"}}
    expected |= dict.fromkeys(["ledger_ledgerevent", "ledger_chatcontent", "django_migrations", "history_change"], READ)
    expected |= dict.fromkeys(["providers_connectiontest", "providers_connectiontestoutcome"], READ | {"INSERT"})

    found = {name: set(rights) for name, rights in fetch(RIGHTS, LOGIN) if rights}

    assert found == expected


def test_of_single_columns_it_may_read_those_of_a_seat_without_its_secret(hub_role):
    assert set(fetch(COLUMNS, LOGIN, LOGIN)) == {("ledger_ledgerwriterrecord", name, "SELECT") for name in SEAT_COLUMNS}


def test_it_may_call_four_functions(hub_role):
    found = fetch(
        "SELECT proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace WHERE nspname NOT LIKE "
        "'pg\\_%%' AND nspname <> 'information_schema' AND prorettype <> 'trigger'::regtype "
        "AND has_function_privilege(%s, pg_proc.oid, 'EXECUTE')",
        LOGIN,
    )

    assert {name for (name,) in found} == FUNCTIONS


def test_functions_that_act_as_their_owner_look_in_one_schema_only():
    found = fetch(
        "SELECT proname, proconfig FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace "
        "WHERE prosecdef AND nspname NOT LIKE 'pg\\_%%'"
    )

    paths = {name: [item for item in config or [] if item.startswith("search_path=")] for name, config in found}
    assert paths
    assert set(map(tuple, paths.values())) == {("search_path=public, pg_temp",)}


def test_it_uses_no_sequence_and_makes_nothing_in_the_schema(hub_role):
    sequences = fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'S' AND CASE WHEN relkind = 'S' "
        "THEN has_sequence_privilege(%s, pg_class.oid, 'USAGE, UPDATE') END",
        LOGIN,
    )

    assert sequences == []
    assert fetch("SELECT has_schema_privilege(%s, 'public', 'CREATE')", LOGIN) == [(False,)]


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "SET ROLE postgres",
        "SET ROLE pg_read_all_data",
        "CREATE ROLE another",
        "ALTER ROLE llmhub_app SUPERUSER",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "COPY chat_chat FROM '/etc/passwd'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT lo_export(1, '/tmp/canary')",
        "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN '\\x00'::bytea",
        "CREATE SCHEMA another",
        "ALTER FUNCTION ledger_append RENAME TO another",
        "DROP FUNCTION ledger_refuse_change CASCADE",
        "CREATE TRIGGER another BEFORE INSERT ON ledger_ledgerevent EXECUTE FUNCTION llmhub_announce_config()",
        "CREATE RULE another AS ON INSERT TO chat_chat DO INSTEAD NOTHING",
        "CREATE POLICY another ON chat_chat USING (false)",
        "ALTER TABLE chat_chat ENABLE ROW LEVEL SECURITY",
        "CREATE INDEX another ON chat_chat (id)",
    ],
)
def test_what_would_widen_its_rights_is_denied(hub_role, statement):
    assert hub_role.is_denied(statement)


# --- the record of chats


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} SELECT * FROM {}",
        "UPDATE {} SET {key} = {key}",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "COPY {} FROM STDIN",
        "SELECT {key} FROM {} FOR UPDATE",
        "LOCK TABLE {} IN ROW EXCLUSIVE MODE",
        "MERGE INTO {} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
        "DROP TABLE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
    ],
)
def test_it_changes_no_table_of_the_record(hub_role, statement):
    for table in [*LEDGER, *ledger_partitions()]:
        key = "writer_id" if table == "ledger_ledgerwriterrecord" else "id"
        assert hub_role.is_denied(statement.replace("{}", table).replace("{key}", key)), table


def test_chats_are_derived_from_what_it_appends_and_not_by_its_own_hand(hub_role):
    identity = WriterIdentity()
    chat_id = new_chat_id()

    hub_role.run(APPEND, *append_parameters(identity, [make_intent(chat_id)]))
    hub_role.run(APPEND, *append_parameters(identity, [make_outcome(chat_id)]))

    assert Chat.objects.get(pk=chat_id).status == "succeeded"
    assert hub_role.is_denied("UPDATE chat_chat SET status = 'failed'")


@pytest.mark.parametrize("secret", [b"", b"\x00" * 32, b"guess"])
def test_it_writes_nothing_under_the_id_of_another_writer(hub_role, web, open_chat, secret):
    forger = WriterIdentity(secret, web.writer_id)

    assert hub_role.is_denied(APPEND, *append_parameters(forger, [make_outcome(open_chat)]))

    assert LedgerWriterRecord.objects.get(pk=web.writer_id).last_seq == 1
    assert LedgerEvent.objects.filter(chat_id=open_chat).count() == 1


def test_it_cannot_keep_another_writer_alive_or_say_who_it_is(hub_role, web, open_chat):
    before = LedgerWriterRecord.objects.filter(pk=web.writer_id).values().get()

    assert hub_role.is_denied(SEEN, *seen_parameters(WriterIdentity(writer_id=web.writer_id), role="django"))

    assert LedgerWriterRecord.objects.filter(pk=web.writer_id).values().get() == before


def test_what_a_writer_said_of_itself_first_stays(hub_role):
    identity = WriterIdentity()
    hub_role.run(SEEN, identity.writer_id, identity.secret, "web", "host-1", 1)

    hub_role.run(SEEN, identity.writer_id, identity.secret, "worker", "host-2", 2)

    row = LedgerWriterRecord.objects.get(pk=identity.writer_id)
    assert (row.role, row.hostname, row.pid) == ("web", "host-1", 1)


def test_it_makes_no_chat_look_made_up(hub_role, web, open_chat):
    new = WriterIdentity()

    for identity in (web, new):
        assert hub_role.is_denied(SEEN, *seen_parameters(identity, role="seed"))

    assert not LedgerWriterRecord.objects.filter(role="seed").exists()


def test_no_writers_secret_can_be_read(hub_role, open_chat):
    for statement in ("SELECT * FROM ledger_ledgerwriterrecord", "SELECT secret_hash FROM ledger_ledgerwriterrecord"):
        assert hub_role.is_denied(statement)


@pytest.mark.django_db(transaction=True)
def test_the_secret_of_a_writer_stands_in_no_statement_that_others_see():
    append_event(make_void(new_chat_id()))

    with psycopg.connect(conninfo()) as other:
        query = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%ledger_append%'"
        shown = [statement for (statement,) in other.execute(query) if statement != query]

    assert shown
    assert all("\\x" not in statement for statement in shown)


@pytest.mark.parametrize(
    "status", [ChatStatus.SUCCEEDED, ChatStatus.FAILED, ChatStatus.LOST], ids=lambda status: status.value
)
def test_it_ends_no_chat_that_another_has_open(hub_role, open_chat, status):
    with pytest.raises(DatabaseError, match="ended by who did not open it"), transaction.atomic():
        hub_role.run(APPEND, *append_parameters(WriterIdentity(), [Outcome(chat_id=open_chat, status=status).entry()]))

    assert Chat.objects.get(pk=open_chat).status == "started"
    assert not LedgerEvent.objects.filter(chat_id=open_chat, kind="outcome").exists()


def test_it_hides_no_foreign_end_among_its_own_chats(hub_role, open_chat):
    own = new_chat_id()
    entries = [make_intent(own), make_outcome(own), make_outcome(open_chat)]

    with pytest.raises(DatabaseError, match="ended by who did not open it"), transaction.atomic():
        hub_role.run(APPEND, *append_parameters(WriterIdentity(), entries))

    assert not Chat.objects.filter(pk=own).exists()


def test_an_end_is_not_left_lying_for_a_chat_that_is_yet_to_come(hub_role):
    with pytest.raises(DatabaseError, match="ended by who did not open it"), transaction.atomic():
        hub_role.run(APPEND, *append_parameters(WriterIdentity(), [make_outcome(new_chat_id())]))


@pytest.mark.parametrize("opening", [make_intent, make_void])
def test_no_chat_is_opened_again_with_another_request(hub_role, open_chat, opening):
    with pytest.raises(DatabaseError, match="opened twice"), transaction.atomic():
        hub_role.run(APPEND, *append_parameters(WriterIdentity(), [opening(open_chat)]))


def test_a_chat_whose_writer_is_gone_can_be_closed_as_lost_and_as_nothing_else(hub_role, open_chat):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_ledgerwriterrecord SET last_seen_at = now() - interval '61 s'")

    with pytest.raises(DatabaseError, match="ended by who did not open it"), transaction.atomic():
        hub_role.run(APPEND, *append_parameters(WriterIdentity(), [make_outcome(open_chat)]))
    hub_role.run(APPEND, *append_parameters(WriterIdentity(), [make_lost(open_chat)]))

    assert Chat.objects.get(pk=open_chat).status == "lost"


def test_the_true_end_of_a_chat_comes_after_it_was_closed_as_lost(hub_role, web, open_chat):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_ledgerwriterrecord SET last_seen_at = now() - interval '61 s'")
    hub_role.run(APPEND, *append_parameters(WriterIdentity(), [make_lost(open_chat)]))

    hub_role.run(APPEND, *append_parameters(web, [make_outcome(open_chat)]))

    assert Chat.objects.get(pk=open_chat).status == "succeeded"


def test_another_seat_of_the_same_process_ends_what_the_first_began(hub_role, web, open_chat):
    beside = WriterIdentity(web.secret)

    hub_role.run(APPEND, *append_parameters(beside, [make_outcome(open_chat)]))

    assert Chat.objects.get(pk=open_chat).status == "succeeded"


def test_times_and_ids_are_the_databases_own_whatever_the_session_is_set_to(hub_role):
    before = timezone.now()
    hub_role.run("SET LOCAL TIME ZONE 'Pacific/Kiritimati'")
    hub_role.run("SET LOCAL search_path = pg_temp, pg_catalog, public")
    (row,) = hub_role.run(
        APPEND.replace("ledger_append", "public.ledger_append"),
        *append_parameters(WriterIdentity(), [make_void(new_chat_id())]),
    )

    assert row[1] >= before
    hub_role.run("SET LOCAL search_path = public")
    assert LedgerEvent.objects.get(pk=row[0]).at == row[1]


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        pytest.param(APPEND_AT, lambda seat, entry: ([LONG_AGO], *append_parameters(seat, [entry])), id="as-the-owner"),
        pytest.param(
            "UPDATE ledger_ledgerwriterrecord SET given_ats = %s::timestamptz[] WHERE writer_id = %s",
            lambda seat, _entry: ([LONG_AGO], seat.writer_id),
            id="in-its-seat",
        ),
        pytest.param(
            "INSERT INTO ledger_ledgerwriterrecord (writer_id, secret_hash, given_ats) "
            "VALUES (%s, sha256(%s), %s::timestamptz[])",
            lambda _seat, _entry: ((other := WriterIdentity()).writer_id, other.secret, [LONG_AGO]),
            id="in-another-seat",
        ),
    ],
)
def test_it_says_of_nothing_when_it_happened(hub_role, web, open_chat, statement, parameters):
    assert hub_role.is_denied(statement, *parameters(web, make_outcome(open_chat)))

    (row,) = hub_role.run(APPEND, *append_parameters(web, [make_outcome(open_chat)]))

    assert timezone.now() - row[1] < timedelta(minutes=1)


@pytest.mark.parametrize("months", [-1, 25, 2_000_000_000])
def test_it_does_not_fill_the_database_with_partitions(hub_role, months):
    with pytest.raises(DatabaseError, match="Between 0 and 24"), transaction.atomic():
        hub_role.run("SELECT ledger_ensure_partitions(%s)", months)


def test_appending_works_for_who_is_just_the_hub(hub_role):
    assert append_event(make_void(new_chat_id())).writer_seq > 0
