import asyncio
from io import StringIO
from uuid import uuid4

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.history import rebuild
from chat.history.models import Chat
from chat.ledger.append import append_event, append_events
from chat.ledger.models import ChatStatus, LedgerEvent
from llmhub.runtime.database import conninfo
from tests.chat.ledger.samples import SERVED, make_intent, make_lost, make_outcome, make_void, new_chat_id

ENDS = [ChatStatus.SUCCEEDED, ChatStatus.FAILED, ChatStatus.TRUNCATED, ChatStatus.CLIENT_DISCONNECTED]

outcomes = st.builds(
    dict,
    status=st.sampled_from(ENDS),
    cost_nano_usd=st.none() | st.integers(0, 10**12),
    first_token_ms=st.none() | st.integers(0, 10**6),
    model_name=st.none() | st.text(st.characters(codec="utf-8"), max_size=8),
    attempts=st.sampled_from([(), (SERVED,), (SERVED, SERVED)]),
    error_type=st.sampled_from([None, "api_error"]),
)
histories = st.lists(
    st.one_of(st.just("void"), st.lists(st.just("lost") | outcomes, max_size=3)), min_size=1, max_size=12
)


def entries_of(history):
    chat_id = new_chat_id()
    if history == "void":
        return [make_void(chat_id)]
    ends = [make_lost(chat_id) if end == "lost" else make_outcome(chat_id, **end) for end in history]
    return [make_intent(chat_id), *ends]


def rows():
    return {row["id"]: row for row in Chat.objects.values()}


def damage():
    """What someone with rights on the table of chats could do to it."""
    Chat.objects.create(id=uuid4(), started_at="2020-01-01T00:00Z", writer_id=uuid4(), intent_id=uuid4())
    first, *others = list(Chat.objects.order_by("?")[:3])
    first.delete()
    for chat in others:
        Chat.objects.filter(pk=chat.pk).update(status=ChatStatus.LOST, application="x", cost_nano_usd=1, attempts=["x"])


def run_command(*arguments):
    out = StringIO()
    call_command("rebuild_chats", *arguments, stdout=out)
    return out.getvalue().splitlines()


@given(histories=histories, batches=st.integers(1, 4), batch_chats=st.integers(1, 9), shuffled=st.randoms())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rebuilding_gives_the_rows_that_were_derived_live(empty_ledger, histories, batches, batch_chats, shuffled):
    chats = [entries_of(history) for history in histories]
    shuffled.shuffle(chats)
    interleaved = [chat.pop(0) for _ in range(4) for chat in chats if chat]
    for start in range(0, len(interleaved), batches):
        append_events(interleaved[start : start + batches])
    derived = rows()

    damage()
    run_command("--batch", str(batch_chats))

    assert rows() == derived


def test_the_command_says_how_far_it_is_and_what_it_dropped(empty_ledger):
    append_events([make_intent(new_chat_id()) for _ in range(5)])
    Chat.objects.create(id=uuid4(), started_at="2020-01-01T00:00Z", writer_id=uuid4(), intent_id=uuid4())

    assert run_command("--batch", "2") == [
        "2 chats derived",
        "4 chats derived",
        "5 chats derived",
        "Done: 5 chats derived from the ledger, 1 rows without events dropped.",
    ]


def test_an_empty_ledger_is_rebuilt_to_nothing(empty_ledger):
    assert run_command() == ["Done: 0 chats derived from the ledger, 0 rows without events dropped."]


def test_rebuilding_writes_nothing_to_the_ledger(empty_ledger):
    append_event(make_intent(new_chat_id()))
    before = list(LedgerEvent.objects.values_list("pk", flat=True))

    run_command()

    assert list(LedgerEvent.objects.values_list("pk", flat=True)) == before


def rebuild_on_a_connection_of_its_own():
    try:
        run_command("--batch", "20")
    finally:
        connection.close()


@pytest.mark.django_db(transaction=True)
async def test_chats_that_go_on_meanwhile_come_out_right(database, writer):
    chat_ids = [new_chat_id() for _ in range(600)]

    async def chat(chat_id):
        await writer.append(make_intent(chat_id))
        await writer.append(make_outcome(chat_id))

    await asyncio.gather(*map(chat, chat_ids[:300]))
    rebuilding = asyncio.create_task(asyncio.to_thread(rebuild_on_a_connection_of_its_own))
    for start in range(300, 600, 10):
        await asyncio.gather(*map(chat, chat_ids[start : start + 10]))
    await rebuilding

    assert await database.fetch("SELECT status, count(*) FROM chat_chat WHERE id = ANY (%s) GROUP BY 1", chat_ids) == [
        ("succeeded", 600)
    ]


@pytest.mark.django_db(transaction=True)
def test_a_table_held_by_someone_else_is_given_up_after_some_attempts():
    append_event(make_intent(new_chat_id()))
    with psycopg.connect(conninfo()) as other:
        other.execute("LOCK TABLE chat_chat IN ROW EXCLUSIVE MODE")

        with pytest.raises(OperationalError, match="lock timeout"):
            list(rebuild.rebuild_chats(batch_chats=10, lock_attempts=2))
