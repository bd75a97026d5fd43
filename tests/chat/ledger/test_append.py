import hashlib
import json
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from chat.history.models import Chat
from chat.ledger.append import append_event, append_events
from chat.ledger.content import make_content
from chat.ledger.entries import LedgerEntry
from chat.ledger.errors import LedgerUnavailableError
from chat.ledger.events import Search
from chat.ledger.models import ChatContent, ChatStatus, EventKind, LedgerEvent, LedgerWriterRecord
from tests.chat.ledger.samples import SERVED, make_intent, make_lost, make_outcome, make_void, new_chat_id

pytestmark = pytest.mark.django_db


def test_an_event_is_its_database_part_beside_the_process_part_unchanged():
    entry = make_intent(new_chat_id())

    receipt = append_event(entry)

    event = LedgerEvent.objects.get(pk=receipt.id)
    at = receipt.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    made = f'"at":"{at}","id":"{receipt.id}","writer_id":"{event.writer_id}","writer_seq":{receipt.writer_seq}'
    assert bytes(event.header).decode() == f'{{"db":{{{made}}},"ev":{entry.event}}}'
    assert (event.at, event.kind, event.chat_id) == (receipt.at, "intent", entry.chat_id)


def test_the_leaf_hash_is_that_of_a_merkle_leaf():
    receipt = append_event(make_intent(new_chat_id()))

    event = LedgerEvent.objects.get(pk=receipt.id)
    assert receipt.leaf_hash == bytes(event.leaf_hash) == hashlib.sha256(b"\x00" + bytes(event.header)).digest()


def test_ids_carry_the_time_and_follow_the_order_of_the_batch():
    receipts = append_events([make_intent(new_chat_id()) for _ in range(50)])

    assert all(receipt.id.version == 7 for receipt in receipts)
    assert all(abs((receipt.id.int >> 80) - receipt.at.timestamp() * 1000) < 1.001 for receipt in receipts)
    assert [r.at for r in receipts] == sorted(r.at for r in receipts)
    assert len({receipt.id for receipt in receipts}) == 50


def test_numbers_go_on_without_a_gap_after_a_rollback():
    first = append_event(make_intent(new_chat_id()))
    with transaction.atomic():
        append_events([make_intent(new_chat_id()) for _ in range(3)])
        transaction.set_rollback(True)

    then = append_events([make_intent(new_chat_id()) for _ in range(2)])

    assert [receipt.writer_seq for receipt in then] == [first.writer_seq + 1, first.writer_seq + 2]


def test_the_seat_says_who_wrote_and_how_far():
    receipt = append_event(make_intent(new_chat_id()))

    seat = LedgerWriterRecord.objects.get(writer_id=LedgerEvent.objects.get(pk=receipt.id).writer_id)
    assert seat.last_seq == receipt.writer_seq


def test_content_is_kept_beside_the_event_under_the_same_id():
    intent, outcome = make_intent(chat_id := new_chat_id()), make_outcome(chat_id)

    receipts = append_events([intent, outcome])

    kept = {content.pk: content for content in ChatContent.objects.filter(chat_id=chat_id)}
    for receipt, entry, part in zip(receipts, (intent, outcome), ("request", "response"), strict=True):
        content = kept[receipt.id]
        assert (content.part, content.body, bytes(content.salt)) == (part, entry.content.body, entry.content.salt)
        assert content.size_bytes == entry.content.size_bytes


@pytest.mark.parametrize("raw", [b"a\x00b", b"\xff\xfe", b'"\xed\xa0\x80"', "é😀".encode(), b"x" * 20_000_000])
def test_any_body_can_be_stored(raw):
    content = make_content(raw)

    receipt = append_event(make_intent(new_chat_id(), content=content))

    assert bytes(ChatContent.objects.get(pk=receipt.id).body) == content.body


def test_an_event_without_a_chat_has_no_content():
    receipt = append_event(Search(actor="rita", source="admin", filters={"status": "failed"}).entry())

    assert LedgerEvent.objects.get(pk=receipt.id).event["filters"] == {"status": "failed"}
    assert not ChatContent.objects.filter(pk=receipt.id).exists()


def test_an_intent_opens_a_chat():
    receipt = append_event(make_intent(chat_id := new_chat_id()))

    chat = Chat.objects.get(pk=chat_id)
    assert (chat.status, chat.started_at, chat.intent_id) == ("started", receipt.at, receipt.id)
    assert (chat.application, chat.api_key, chat.end_user, chat.conversation) == ("demo", "lh_demo", "ann", "c-1")
    assert (chat.address, chat.dialect, chat.is_stream, chat.asked_model) == ("10.0.0.7", "openai", False, "acme/small")
    assert (chat.finished_at, chat.outcome_id, chat.attempts, chat.cost_nano_usd) == (None, None, [], None)


def test_an_outcome_closes_it():
    append_event(make_intent(chat_id := new_chat_id()))
    outcome = make_outcome(chat_id, first_token_ms=4, native_finish_reason="STOP")

    receipt = append_event(outcome)

    chat = Chat.objects.get(pk=chat_id)
    assert (chat.status, chat.finished_at, chat.outcome_id) == ("succeeded", receipt.at, receipt.id)
    assert (chat.provider, chat.model_name, chat.http_status) == ("acme", "small", 200)
    assert (chat.prompt_tokens, chat.completion_tokens, chat.cached_tokens) == (3, 5, None)
    assert (chat.usage_source, chat.cost_nano_usd, chat.finish_reason) == ("provider", 1200, "stop")
    assert (chat.latency_ms, chat.first_token_ms, chat.overhead_us) == (20, 4, 800)
    assert chat.attempts == json.loads(outcome.event)["attempts"]
    assert chat.attempts[0]["provider"] == SERVED.provider


def test_a_refused_chat_is_opened_and_closed_by_one_event():
    receipt = append_event(make_void(chat_id := new_chat_id()))

    chat = Chat.objects.get(pk=chat_id)
    assert (chat.status, chat.http_status) == ("rejected", 404)
    assert (chat.error_type, chat.error_code) == ("not_found_error", "model_not_found")
    assert chat.started_at == chat.finished_at == receipt.at
    assert chat.intent_id == chat.outcome_id == receipt.id


def test_an_outcome_that_comes_twice_changes_nothing():
    append_event(make_intent(chat_id := new_chat_id()))
    append_event(make_outcome(chat_id))
    before = Chat.objects.filter(pk=chat_id).values().get()

    append_event(make_outcome(chat_id, status=ChatStatus.FAILED, provider="other"))

    assert Chat.objects.filter(pk=chat_id).values().get() == before


def test_a_late_true_outcome_beats_lost():
    append_event(make_intent(chat_id := new_chat_id()))
    append_event(make_lost(chat_id))

    append_event(make_outcome(chat_id))

    assert Chat.objects.get(pk=chat_id).status == "succeeded"


@pytest.mark.parametrize("together", [True, False])
def test_lost_never_beats_a_true_outcome(together):
    append_event(make_intent(chat_id := new_chat_id()))
    entries = [make_lost(chat_id), make_outcome(chat_id)] if together else [make_outcome(chat_id), make_lost(chat_id)]

    append_events(entries)

    assert Chat.objects.get(pk=chat_id).status == "succeeded"


@pytest.mark.parametrize(
    "entry",
    [
        LedgerEntry(kind="gossip", chat_id=None, event='{"kind":"gossip"}'),
        LedgerEntry(kind="read", chat_id=None, event='{"kind":"search"}'),
        LedgerEntry(kind="read", chat_id=UUID(int=1), event=f'{{"chat":"{UUID(int=2)}","kind":"read"}}'),
        LedgerEntry(kind="intent", chat_id=None, event='{"kind":"intent"}'),
        LedgerEntry(kind="search", chat_id=None, event='{"kind":"search"},"more":{}'),
        LedgerEntry(kind="search", chat_id=None, event='{"kind":"search","canary":"\x00"}'),
        LedgerEntry(kind="search", chat_id=None, event='{"kind":"search","canary":"\ud800"}'),
        LedgerEntry(kind="search", chat_id=None, event='{"kind":"search"}', content=make_content(b"canary")),
    ],
    ids=["unknown-kind", "other-kind", "other-chat", "no-chat", "two-texts", "nul", "surrogate", "content-of-none"],
)
def test_what_is_not_an_event_is_refused_without_quoting_it(entry):
    with pytest.raises(LedgerUnavailableError) as caught, transaction.atomic():
        append_event(entry)

    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_every_kind_the_code_knows_is_one_the_database_takes():
    for kind in EventKind.values:
        chat_id = new_chat_id()
        if kind == "outcome":
            append_events([make_intent(chat_id), make_outcome(chat_id)])
        else:
            event = f'{{"chat":"{chat_id}","kind":"{kind}"}}'
            append_event(LedgerEntry(kind=kind, chat_id=chat_id, event=event))

        assert LedgerEvent.objects.filter(chat_id=chat_id).first().kind == kind


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(Exception, match="arrays of one length"), connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM ledger_append(%s::uuid, '', '{search}', '{}', '{}', '{}', '{}', '{}', '{}')",
            (uuid4(),),
        )


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_the_event_is_committed_on_return():
    receipt = append_event(make_intent(new_chat_id()))

    assert not connection.in_atomic_block
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_xact_status(xid) FROM ledger_ledgerevent WHERE id = %s", (receipt.id,))
        assert cursor.fetchone() == ("committed",)
