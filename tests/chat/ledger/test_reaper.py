from uuid import uuid4

import psycopg
import pytest
from django.db import connection, transaction

from chat.history.models import Chat
from chat.ledger.append import append_events
from chat.ledger.entries import APPEND, WriterIdentity, append_parameters
from chat.ledger.models import LedgerEvent
from chat.ledger.reaper import reap_open_chats
from llmhub.runtime.database import conninfo
from tests.chat.ledger.samples import make_intent, make_outcome, make_void, new_chat_id

pytestmark = pytest.mark.django_db


def open_chat(*, writer_silent_s, open_s=0):
    """A started chat of a writer of its own, moved into the past as only the owner can."""
    return opened_by(WriterIdentity(), writer_silent_s=writer_silent_s, open_s=open_s)


def append_as(identity, entries):
    with connection.cursor() as cursor:
        cursor.execute(APPEND, append_parameters(identity, entries))


def opened_by(identity, *, writer_silent_s, open_s=0):
    append_as(identity, [entry := make_intent(new_chat_id())])
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger_ledgerwriterrecord SET last_seen_at = now() - make_interval(secs => %s) "
            "WHERE writer_id = %s",
            (writer_silent_s, identity.writer_id),
        )
        cursor.execute(
            "UPDATE chat_chat SET started_at = now() - make_interval(secs => %s) WHERE id = %s", (open_s, entry.chat_id)
        )
    return entry.chat_id


def silence_all():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_ledgerwriterrecord SET last_seen_at = now() - interval '61 s'")


def statuses(*chat_ids):
    found = dict(Chat.objects.values_list("pk", "status"))
    return [found[chat_id] for chat_id in chat_ids]


def test_a_chat_whose_writer_is_gone_is_closed_by_an_event():
    chat_id = open_chat(writer_silent_s=61)

    assert reap_open_chats() == 1

    chat = Chat.objects.get(pk=chat_id)
    outcome = LedgerEvent.objects.get(chat_id=chat_id, kind="outcome")
    assert (chat.status, chat.error_type, chat.outcome_id) == ("lost", "lost", outcome.pk)
    assert outcome.event["status"] == "lost"


def test_a_chat_whose_writer_lives_is_left_alone():
    chat_id = open_chat(writer_silent_s=59)

    assert reap_open_chats() == 0
    assert statuses(chat_id) == ["started"]


def test_a_chat_whose_writer_left_no_trace_is_closed():
    chat_id = open_chat(writer_silent_s=0)
    Chat.objects.filter(pk=chat_id).update(writer_id=uuid4())

    assert reap_open_chats() == 1
    assert statuses(chat_id) == ["lost"]


@pytest.mark.parametrize(("open_s", "status"), [(7199, "started"), (7201, "lost")])
def test_a_chat_that_is_open_too_long_is_closed_though_its_writer_lives(open_s, status):
    chat_id = open_chat(writer_silent_s=0, open_s=open_s)

    reap_open_chats()

    assert statuses(chat_id) == [status]


def test_chats_that_have_ended_are_left_alone():
    append_events([make_intent(done := new_chat_id()), make_outcome(done), make_void(refused := new_chat_id())])
    silence_all()

    assert reap_open_chats() == 0
    assert statuses(done, refused) == ["succeeded", "rejected"]


def test_nothing_is_reaped_twice():
    open_chat(writer_silent_s=61)

    assert [reap_open_chats(), reap_open_chats()] == [1, 0]


def test_more_chats_than_one_batch_holds_are_all_closed():
    append_as(WriterIdentity(), [make_intent(new_chat_id()) for _ in range(1203)])
    silence_all()

    assert reap_open_chats() == 1203
    assert not Chat.objects.filter(status="started").exists()


def test_a_true_outcome_that_comes_after_all_wins():
    identity = WriterIdentity()
    chat_id = opened_by(identity, writer_silent_s=61)
    reap_open_chats()

    append_as(identity, [make_outcome(chat_id)])

    assert statuses(chat_id) == ["succeeded"]


@pytest.mark.django_db(transaction=True)
def test_a_chat_that_another_is_just_closing_is_left_to_it():
    chat_id = open_chat(writer_silent_s=61)
    with psycopg.connect(conninfo()) as other:
        other.execute("SELECT FROM chat_chat WHERE id = %s FOR UPDATE", (chat_id,))

        assert reap_open_chats() == 0

    assert reap_open_chats() == 1


def test_a_reaper_that_fails_closes_nothing():
    chat_id = open_chat(writer_silent_s=61)
    with transaction.atomic():
        reap_open_chats()
        transaction.set_rollback(True)

    assert statuses(chat_id) == ["started"]
    assert not LedgerEvent.objects.filter(chat_id=chat_id, kind="outcome").exists()
