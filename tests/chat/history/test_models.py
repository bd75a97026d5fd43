import datetime as dt
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from chat.history.models import Chat, first_id_at
from chat.ledger.append import append_events
from chat.ledger.events import Caller
from chat.ledger.models import ChatContent, LedgerEvent, LedgerWriterRecord
from llmhub.runtime.uuid7 import uuid7_at
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id

MIN, MAX = (moment.replace(tzinfo=dt.UTC) for moment in (dt.datetime.min, dt.datetime.max))  # noqa: DTZ901
NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def chat_at(at, **fields):
    chat_id = UUID(int=first_id_at(at).int | (7 << 76) | uuid4().int & (2**64 - 1))
    return Chat.objects.create(id=chat_id, started_at=at, writer_id=uuid4(), intent_id=uuid4(), **fields)


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())


@pytest.mark.django_db
def test_the_models_of_the_ledger_have_the_columns_of_its_tables():
    for model in (LedgerEvent, ChatContent, LedgerWriterRecord):
        with connection.cursor() as cursor:
            columns = connection.introspection.get_table_description(cursor, model._meta.db_table)

        missing = {column.name for column in columns} - {field.column for field in model._meta.fields}
        assert missing == {LedgerEvent: {"xid"}, LedgerWriterRecord: {"secret_hash", "given_ats"}}.get(model, set())


@pytest.mark.django_db
def test_a_period_begins_with_since_and_ends_before_until():
    before, first, last, after = (chat_at(NOW + dt.timedelta(hours=hour)) for hour in (-1, 0, 1, 2))

    found = Chat.objects.between(since=first.started_at, until=after.started_at)

    assert list(found) == [last, first]
    assert before not in Chat.objects.between(since=NOW)
    assert list(Chat.objects.between(until=NOW)) == [before]
    assert Chat.objects.between().count() == 4


@pytest.mark.django_db
def test_a_chat_named_by_a_clock_that_is_hours_off_is_found_in_its_period():
    chat = chat_at(NOW - dt.timedelta(hours=20))
    Chat.objects.filter(pk=chat.pk).update(started_at=NOW)

    assert list(Chat.objects.between(since=NOW)) == [chat]


@pytest.mark.django_db
@pytest.mark.parametrize("at", [MIN, MAX, dt.datetime(1969, 1, 1, tzinfo=dt.UTC)], ids=["min", "max", "before-1970"])
def test_any_date_can_be_asked_for(at):
    assert list(Chat.objects.between(since=at, until=at)) == []


def test_the_first_id_of_a_moment_begins_with_its_milliseconds():
    assert str(first_id_at(dt.datetime(2022, 2, 22, 19, 22, 22, tzinfo=dt.UTC))).startswith("017f22e2-79b0-0000")
    assert first_id_at(MIN) == UUID(int=0)


@pytest.mark.django_db
def test_a_status_that_is_none_is_refused():
    with pytest.raises(IntegrityError, match="chat_status_is_known"), transaction.atomic():
        chat_at(NOW, status="asleep")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"application": "rare"}, "chat_by_application"),
        ({"api_key": "rare"}, "chat_by_api_key"),
        ({"end_user": "rare"}, "chat_by_end_user"),
        ({"conversation": "rare"}, "chat_by_conversation"),
        ({"provider": "rare"}, "chat_by_provider"),
        ({"model_name": "rare"}, "chat_by_model"),
        ({"status": "failed"}, "chat_by_status"),
        ({"status__in": ["failed", "lost"]}, "chat_by_status"),
        ({"error_type": "rare"}, "chat_by_error"),
        ({"actor": "rare"}, "chat_by_actor"),
        ({"cost_nano_usd__gte": 2_000_000_000}, "chat_by_cost"),
        ({"cost_nano_usd__lte": 5}, "chat_by_cost"),
        ({}, "chat_chat_pkey"),
    ],
)
def test_each_list_reads_its_own_index(filters, index):
    append_events([entry for _ in range(300) for entry in pair(new_chat_id())])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_chat")

    plan = Chat.objects.filter(**filters).order_by("-id")[:50].explain()

    assert index in plan


@pytest.mark.django_db
def test_chats_of_a_rare_size_are_found_by_their_tokens():
    append_events([entry for _ in range(300) for entry in pair(new_chat_id())])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE chat_chat")

    plan = Chat.objects.with_tokens(least_tokens=1_000_000).order_by("-id")[:50].explain()

    assert "chat_by_tokens" in plan


@pytest.mark.django_db
@pytest.mark.parametrize("is_newest_first", [True, False])
@pytest.mark.parametrize("cheap_chats", [0, 3, 100])
def test_a_page_holds_the_same_chats_however_they_are_found(monkeypatch, cheap_chats, is_newest_first):
    monkeypatch.setattr("chat.history.models.CHEAP_CHATS", cheap_chats)
    ids = [uuid7_at(n) for n in range(1_000, 1_020)]
    append_events([make_intent(pk, caller=Caller(application=f"{n % 3}")) for n, pk in enumerate(ids)])
    wanted = sorted((pk for n, pk in enumerate(ids) if n % 3 == 1), reverse=is_newest_first)

    pages = [
        Chat.objects.filter(application="1", pk__in=ids).read_page(
            Chat.objects.all(), skip=skip, most=4, is_newest_first=is_newest_first
        )
        for skip in (0, 4, 8)
    ]

    assert [[chat.pk for chat in page] for page in pages] == [wanted[:4], wanted[4:8], wanted[8:]]


def pair(chat_id):
    return [make_intent(chat_id), make_outcome(chat_id)]


@pytest.mark.django_db
def test_rows_name_themselves_without_content():
    receipt, _ = append_events(pair(chat_id := new_chat_id()))

    event = LedgerEvent.objects.get(pk=receipt.id)
    assert str(event) == f"intent {receipt.id}"
    assert str(ChatContent.objects.get(pk=receipt.id)) == f"request of {chat_id}"
    assert str(Chat.objects.get(pk=chat_id)) == str(chat_id)
    assert str(LedgerWriterRecord.objects.get(pk=event.writer_id)).count(":") == 1
