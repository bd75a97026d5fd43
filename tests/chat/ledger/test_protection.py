import hashlib
from uuid import uuid4

import psycopg
import pytest
from django.db import ProgrammingError, connection, transaction

from chat.history.models import Chat
from chat.ledger.append import append_event
from chat.ledger.models import ChatContent, LedgerEvent, LedgerWriterRecord
from chat.ledger.partitions import ensure_partitions
from tests.chat.conftest import application_role, ledger_partitions
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id

pytestmark = pytest.mark.django_db

LEDGER = ["ledger_ledgerevent", "ledger_chatcontent", "ledger_ledgerwriterrecord"]
CHANGES = {
    "insert": "INSERT INTO {} SELECT * FROM {}",
    "update": "UPDATE {} SET {key} = {key}",
    "delete": "DELETE FROM {}",
    "truncate": "TRUNCATE {}",
    "copy": "COPY {} FROM STDIN",
    "lock": "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
    "drop": "DROP TABLE {}",
    "trigger": "ALTER TABLE {} DISABLE TRIGGER ALL",
}


def change(table, statement):
    key = "writer_id" if table == "ledger_ledgerwriterrecord" else "id"
    with connection.cursor() as cursor:
        cursor.execute(statement.replace("{}", table).replace("{key}", key))


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES)
def test_the_application_can_change_no_table_of_the_ledger_and_no_partition(statement):
    for table in [*LEDGER, "chat_chat", *ledger_partitions()]:
        with pytest.raises(ProgrammingError) as refused, transaction.atomic(), application_role():
            change(table, statement)

        assert isinstance(refused.value.__cause__, psycopg.errors.InsufficientPrivilege), table


@pytest.mark.parametrize("statement", [CHANGES["update"], CHANGES["delete"], CHANGES["truncate"]])
@pytest.mark.parametrize("replication_role", ["origin", "replica"])
def test_triggers_keep_the_owner_from_changing_it_by_mistake(statement, replication_role):
    append_event(make_intent(new_chat_id()))

    for table in ["ledger_ledgerevent", "ledger_chatcontent", *filled_partitions()]:
        with pytest.raises(ProgrammingError, match="append-only") as refused, transaction.atomic():
            change(table, f"SET LOCAL session_replication_role = {replication_role}; {statement}")

        assert table.removesuffix("s") in str(refused.value)


def filled_partitions():
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tableoid::regclass::text FROM ledger_ledgerevent")
        return [name for (name,) in cursor.fetchall()]


def test_the_application_reads_and_appends_and_does_no_more():
    with application_role():
        append_event(make_intent(chat_id := new_chat_id()))
        receipt = append_event(make_outcome(chat_id))

        assert LedgerEvent.objects.get(pk=receipt.id).chat_id == chat_id
        assert ChatContent.objects.filter(chat_id=chat_id).exists()
        assert Chat.objects.get(pk=chat_id).status == "succeeded"
        assert LedgerWriterRecord.objects.exists()


@pytest.mark.parametrize(
    "call",
    [
        "llmhub_uuidv7(now())",
        "llmhub_uuidv7_floor(now())",
        "ledger_guard_table('chat_chat')",
        "ledger_make_partition('ledger_ledgerevent', now()::timestamp)",
        "ledger_missing_partitions(1)",
        "ledger_project_chats(NULL, NULL, NULL, NULL, NULL, NULL)",
        "ledger_is_abandoned(NULL, now())",
        "ledger_refuse_foreign_ends(NULL, NULL, NULL, NULL)",
        "ledger_rebuild_chats(NULL, 1)",
        "ledger_append_at(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ],
)
def test_the_application_calls_only_what_it_needs(call):
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic(), application_role():
        change("", f"SELECT {call}")


def test_what_the_application_appends_has_the_time_of_the_clock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_function_arguments('ledger_append'::regproc), clock_timestamp()")
        arguments, before = cursor.fetchone()

    with application_role():
        receipt = append_event(make_intent(new_chat_id()))

    assert "timestamp" not in arguments
    assert receipt.at > before


def test_nobody_else_may_call_any_of_the_functions():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) "
            "WHERE proname ~ '^(ledger_|llmhub_uuidv7)' AND grantee = 0"
        )
        assert cursor.fetchall() == []


def test_a_hostile_search_path_and_temporary_tables_have_no_effect():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE ledger_ledgerevent (LIKE public.ledger_ledgerevent);"
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN '\\x00'::bytea;"
            "GRANT ALL ON ledger_ledgerevent TO llmhub_app; SET LOCAL search_path = pg_temp, pg_catalog, public"
        )
    with application_role():
        receipt = append_event(make_intent(new_chat_id()))
        made = ensure_partitions(months_ahead=5)

    change("", "SET LOCAL search_path = public, pg_temp")
    assert set(made) <= set(ledger_partitions())
    event = LedgerEvent.objects.get(pk=receipt.id)
    assert receipt.leaf_hash == hashlib.sha256(b"\x00" + bytes(event.header)).digest()


def test_rights_given_by_default_do_not_reach_new_partitions():
    change("", "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO llmhub_app")
    change("", "SELECT ledger_ensure_partitions(9)")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid, aclexplode(relacl) "
            "WHERE inhparent IN ('ledger_ledgerevent'::regclass, 'ledger_chatcontent'::regclass) "
            "AND grantee <> relowner"
        )
        assert cursor.fetchall() == []


def test_a_row_whose_hash_is_not_that_of_its_header_cannot_be_stored_even_by_the_owner():
    with pytest.raises(Exception, match="check constraint"), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_ledgerevent SELECT llmhub_uuidv7(now()), now(), 'read', NULL, %s, 1, 'x', 'y', "
            "pg_current_xact_id()",
            (uuid4(),),
        )
