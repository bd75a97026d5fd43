import asyncio
import logging
import socket
import time

import psycopg
import pytest

from chat.ledger.content import make_content
from chat.ledger.entries import LedgerEntry
from chat.ledger.errors import EntryRefusedError, LedgerUnavailableError, UnsureError
from chat.ledger.writer import LedgerWriter, WriterLimits
from llmhub.runtime.database import conninfo
from tests.chat.ledger.proxy import proxied
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id

CANARY = "canary-7f3a"


def intents(count):
    return [make_intent(new_chat_id()) for _ in range(count)]


async def append_all(writer, entries):
    return await asyncio.gather(*map(writer.append, entries), return_exceptions=True)


async def until_up(writer):
    async with asyncio.timeout(10):
        while not writer.is_up:  # noqa: ASYNC110 - the writer announces it to nobody
            await asyncio.sleep(0.01)


async def numbers(database, writer):
    rows = await database.fetch(
        "SELECT writer_seq FROM ledger_ledgerevent WHERE writer_id = %s ORDER BY 1", writer.writer_id
    )
    return [seq for (seq,) in rows]


async def test_an_entry_is_committed_when_append_returns(database, writer):
    entry = make_intent(new_chat_id())

    receipt = await writer.append(entry)

    row = await database.fetch(
        "SELECT id, at, writer_seq, leaf_hash FROM ledger_ledgerevent WHERE chat_id = %s", entry.chat_id
    )
    assert row == [(receipt.id, receipt.at, receipt.writer_seq, receipt.leaf_hash)]
    assert await database.fetch_value("SELECT status FROM chat_chat WHERE id = %s", entry.chat_id) == "started"


async def test_entries_that_wait_together_share_one_commit(database, writer):
    async with database.held_seat(writer):
        appending = [asyncio.create_task(writer.append(entry)) for entry in intents(40)]
        await database.until_blocked()
    await asyncio.gather(*appending)

    commits = await database.fetch_value(
        "SELECT count(DISTINCT xid::text) FROM ledger_ledgerevent WHERE writer_id = %s", writer.writer_id
    )
    assert commits <= 2
    assert await numbers(database, writer) == list(range(1, 41))


async def test_receipts_go_to_those_who_asked_in_order(database, writer):
    entries = intents(30)

    receipts = await append_all(writer, entries)

    rows = dict(
        await database.fetch("SELECT chat_id, id FROM ledger_ledgerevent WHERE writer_id = %s", writer.writer_id)
    )
    assert [rows[entry.chat_id] for entry in entries] == [receipt.id for receipt in receipts]
    assert [receipt.writer_seq for receipt in receipts] == list(range(1, 31))


async def test_each_writer_counts_for_itself_without_a_gap(database, new_writer):
    writers = [await new_writer() for _ in range(3)]

    await asyncio.gather(*(append_all(writer, intents(50)) for writer in writers for _ in range(3)))

    for writer in writers:
        assert await numbers(database, writer) == list(range(1, 151))


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"kind": "gossip", "event": f'{{"kind":"gossip","x":"{CANARY}"}}'}, id="check-constraint"),
        pytest.param({"kind": "search", "event": f'{{"kind":"search","x":"{CANARY}'}, id="not-json"),
        pytest.param({"kind": "search", "event": f'{{"kind":"search","x":"{CANARY}\x00"}}'}, id="nul"),
        pytest.param({"kind": "search", "event": f'{{"kind":"search","x":"{CANARY}\ud800"}}'}, id="lone-surrogate"),
    ],
)
async def test_one_bad_entry_costs_no_other(database, writer, caplog, bad):
    caplog.set_level(logging.DEBUG)
    entries = intents(20)
    entries.insert(7, LedgerEntry(chat_id=None, **bad))

    results = await append_all(writer, entries)

    assert isinstance(results.pop(7), EntryRefusedError)
    assert {result.writer_seq for result in results} == set(range(1, 21))
    assert await numbers(database, writer) == list(range(1, 21))
    assert "The ledger refused an entry" in caplog.text
    assert CANARY not in caplog.text


async def test_a_huge_body_goes_alone_and_whole(database, new_writer):
    writer = await new_writer(limits=WriterLimits(batch_bytes=1_000_000))
    huge = make_intent(new_chat_id(), content=make_content(b"x" * 20_000_000))

    receipts = await append_all(writer, [*intents(3), huge, *intents(3)])

    stored = await database.fetch_value("SELECT length(body) FROM ledger_chatcontent WHERE id = %s", receipts[3].id)
    assert stored == 20_000_000
    assert await numbers(database, writer) == list(range(1, 8))


async def test_an_entry_is_written_though_nobody_waits_for_it_any_more(database, writer):
    async with database.held_seat(writer):
        first, second = [asyncio.create_task(writer.append(entry)) for entry in intents(2)]
        await database.until_blocked()
        first.cancel()
        second.cancel()
        await asyncio.wait({first, second})
    await writer.stop()

    assert first.cancelled()
    assert second.cancelled()
    assert await numbers(database, writer) == [1, 2]


async def test_stopping_writes_what_is_queued_and_lets_nothing_more_in(database, writer):
    async with database.held_seat(writer):
        appending = [asyncio.create_task(writer.append(entry)) for entry in intents(5)]
        await database.until_blocked()
        stopping = asyncio.create_task(writer.stop())
    await stopping

    assert [receipt.writer_seq for receipt in await asyncio.gather(*appending)] == [1, 2, 3, 4, 5]
    with pytest.raises(LedgerUnavailableError):
        await writer.append(make_intent(new_chat_id()))


async def test_what_waits_is_bounded(database, new_writer):
    writer = await new_writer(limits=WriterLimits(queue_bytes=10_000))
    big = make_intent(new_chat_id(), content=make_content(b"x" * 9_000))
    async with database.held_seat(writer):
        appending = [asyncio.create_task(writer.append(entry)) for entry in intents(1)]
        await database.until_blocked()
        appending.append(asyncio.create_task(writer.append(big)))
        await asyncio.sleep(0)

        with pytest.raises(LedgerUnavailableError, match="Too much"):
            await writer.append(make_intent(new_chat_id()))

    assert [receipt.writer_seq for receipt in await asyncio.gather(*appending)] == [1, 2]


async def test_a_connection_lost_while_idle_costs_no_chat(database, writer):
    await writer.append(make_intent(new_chat_id()))
    await database.end_writer_connections()

    receipt = await writer.append(make_intent(new_chat_id()))

    assert receipt.writer_seq == 2


async def test_a_connection_lost_in_a_statement_fails_what_waits_and_leaves_no_gap(database, writer, caplog):
    async with database.held_seat(writer):
        appending = [asyncio.create_task(writer.append(entry)) for entry in intents(2)]
        await database.until_blocked()
        appending += [asyncio.create_task(writer.append(entry)) for entry in intents(3)]
        await database.end_writer_connections()
        results = await asyncio.wait_for(asyncio.gather(*appending, return_exceptions=True), 5)
    await until_up(writer)
    await append_all(writer, intents(3))

    assert [type(result) for result in results] == [UnsureError] * 2 + [LedgerUnavailableError] * 3
    assert await numbers(database, writer) == [1, 2, 3]
    # the writer of a hub that runs in this process loses its connection too, and says the same
    assert list(dict.fromkeys(caplog.messages)) == [
        "The ledger cannot be written: AdminShutdown 57P01.",
        "The ledger can be written again.",
    ]


async def test_a_database_that_is_not_there_fails_at_once_and_does_not_stop_the_start(django_db_setup, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        writer = LedgerWriter(conninfo(host="127.0.0.1", port=taken.getsockname()[1]))
        await writer.start()

        started = time.monotonic()
        results = await append_all(writer, intents(100))

        assert {type(result) for result in results} == {LedgerUnavailableError}
        assert time.monotonic() - started < 5
        assert not writer.is_up
        assert caplog.messages.count("The ledger cannot be written: OperationalError.") == 1
        await writer.stop()


async def test_a_silent_server_is_given_up_and_found_again(database, new_writer):
    async with proxied(conninfo()) as proxy:
        limits = WriterLimits(silence_timeout_s=0.5, connect_timeout_s=1)
        writer = await new_writer(
            limits=limits, host="127.0.0.1", port=proxy.port, sslmode="disable", gssencmode="disable"
        )
        assert writer.is_up

        proxy.speaks.clear()
        started = time.monotonic()
        results = await append_all(writer, intents(5))
        assert {type(result) for result in results} == {UnsureError}
        assert time.monotonic() - started < 5

        proxy.speaks.set()
        await until_up(writer)
        receipt = await writer.append(make_intent(new_chat_id()))
        assert (await numbers(database, writer))[-1] == receipt.writer_seq
        await writer.stop()


async def test_a_read_only_database_is_known_and_its_recovery_too(database, writer):
    name = await database.fetch_value("SELECT quote_ident(current_database())")
    await database.connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        await database.end_writer_connections()
        results = await append_all(writer, intents(3))
    finally:
        await database.connection.execute("SET default_transaction_read_only = off")
        await database.connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

    assert {type(result) for result in results} == {UnsureError}
    await until_up(writer)
    assert (await writer.append(make_intent(new_chat_id()))).writer_seq == 1


async def test_what_nobody_waits_for_is_written_once_the_database_is_back(database, new_writer):
    writer = await new_writer(limits=WriterLimits(statement_timeout_s=0.3))
    intent = make_intent(new_chat_id())
    await writer.append(intent)
    async with database.held_seat(writer):
        with pytest.raises(LedgerUnavailableError):
            await writer.append(make_intent(new_chat_id()))
        writer.append_when_up(make_outcome(intent.chat_id))

    await database.until("SELECT status = 'succeeded' FROM chat_chat WHERE id = %s", intent.chat_id)
    assert await numbers(database, writer) == [1, 2]


async def test_an_outcome_that_cannot_be_stored_is_written_late_though_its_caller_has_gone(database, writer):
    await writer.append(intent := make_intent(new_chat_id()))
    late = make_outcome(intent.chat_id, status="failed")
    async with database.held_seat(writer):
        closing = asyncio.create_task(writer.append(make_outcome(intent.chat_id), or_late=lambda: late))
        await database.until_blocked()
        closing.cancel()
        await database.end_writer_connections()

    await database.until("SELECT status = 'failed' FROM chat_chat WHERE id = %s", intent.chat_id)
    assert await numbers(database, writer) == [1, 2]


async def test_an_outcome_that_was_stored_in_silence_is_not_followed_by_another(database, new_writer):
    async with proxied(conninfo()) as proxy:
        writer = await new_writer(
            limits=WriterLimits(silence_timeout_s=0.5),
            host="127.0.0.1",
            port=proxy.port,
            sslmode="disable",
            gssencmode="disable",
        )
        await writer.append(intent := make_intent(new_chat_id()))

        proxy.answers.clear()
        late = make_outcome(intent.chat_id, status="failed")
        with pytest.raises(UnsureError):
            await writer.append(make_outcome(intent.chat_id), or_late=lambda: late)
        proxy.answers.set()
        await until_up(writer)
        await writer.append(make_intent(new_chat_id()))

        assert await database.fetch_value("SELECT status FROM chat_chat WHERE id = %s", intent.chat_id) == "succeeded"
        assert await numbers(database, writer) == [1, 2, 3]
        await writer.stop()


async def test_no_outcome_is_written_late_for_a_chat_that_was_never_stored(database, writer):
    writer.append_when_up(make_outcome(new_chat_id()))
    await writer.append(make_intent(new_chat_id()))

    kinds = await database.fetch("SELECT kind FROM ledger_ledgerevent WHERE writer_id = %s", writer.writer_id)

    assert kinds == [("intent",)]


async def test_a_session_that_was_given_up_is_ended_before_anything_more_is_written(database, new_writer):
    writer = await new_writer(limits=WriterLimits(silence_timeout_s=0.5))
    name = f"llmhub ledger {writer.writer_id}"
    async with (
        await psycopg.AsyncConnection.connect(conninfo(application_name=name), autocommit=True) as given_up,
        database.held_seat(writer),
    ):
        with pytest.raises(UnsureError):
            await writer.append(make_intent(new_chat_id()))
        await database.until("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = %s", name)

        with pytest.raises(psycopg.OperationalError):
            await given_up.execute("SELECT 1")


async def test_stopping_writes_what_nobody_waits_for_too(database, writer):
    intent = make_intent(new_chat_id())
    await writer.append(intent)
    writer.append_when_up(make_outcome(intent.chat_id))

    await writer.stop()

    assert await database.fetch_value("SELECT status FROM chat_chat WHERE id = %s", intent.chat_id) == "succeeded"


async def test_what_nobody_waits_for_is_bounded_and_its_loss_is_told(database, new_writer, caplog):
    writer = await new_writer(limits=WriterLimits(late_bytes=1_000))
    big = make_outcome(new_chat_id(), content=make_content(CANARY.encode() * 1_000))

    writer.append_when_up(big)
    await writer.stop()

    assert "an entry of kind outcome is given up" in caplog.text
    assert CANARY not in caplog.text
    assert await numbers(database, writer) == []


async def test_a_stop_while_the_database_is_away_says_what_is_lost(django_db_setup, caplog):
    writer = LedgerWriter(conninfo(host="127.0.0.1", port=9))
    await writer.start()

    writer.append_when_up(make_outcome(new_chat_id()))
    await writer.stop()

    assert "1 entries are given up" in caplog.text


async def test_a_statement_that_takes_too_long_is_given_up(database, new_writer):
    writer = await new_writer(limits=WriterLimits(statement_timeout_s=0.3))
    async with database.held_seat(writer):
        results = await asyncio.wait_for(append_all(writer, intents(3)), 5)

    assert {type(result) for result in results} == {UnsureError}
    await until_up(writer)
    assert await numbers(database, writer) == []


async def test_an_idle_writer_shows_that_it_lives(database, new_writer):
    writer = await new_writer(limits=WriterLimits(heartbeat_s=0.05))
    seen = "FROM ledger_ledgerwriterrecord WHERE writer_id = %s"
    first = await database.fetch_value(f"SELECT last_seen_at {seen}", writer.writer_id)

    await database.until(f"SELECT last_seen_at > %s {seen}", first, writer.writer_id)

    assert await database.fetch(f"SELECT role, hostname <> '', last_seq {seen}", writer.writer_id) == [("web", True, 0)]


async def test_a_chat_goes_through_both_its_states(database, writer):
    await writer.append(make_intent(chat_id := new_chat_id()))

    await writer.append(make_outcome(chat_id))

    assert await database.fetch_value("SELECT status FROM chat_chat WHERE id = %s", chat_id) == "succeeded"
