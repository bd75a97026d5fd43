import asyncio

import pytest
import pytest_asyncio

from chat.ledger.content import make_content
from chat.ledger.errors import UnsureError
from chat.ledger.lanes import LedgerLanes
from chat.ledger.writer import WriterLimits
from llmhub.runtime.database import conninfo
from llmhub.runtime.large_work import LARGE_BYTES
from tests.chat.ledger.samples import make_intent, make_outcome, new_chat_id

LARGE = make_content(b"x" * (LARGE_BYTES + 1))


@pytest_asyncio.fixture
async def ledger(database):
    lanes = LedgerLanes(conninfo())
    await lanes.start()
    yield lanes
    await lanes.stop()


def begun(*entries, ledger):
    return [asyncio.create_task(ledger.append(entry)) for entry in entries]


async def status_of(database, chat_id):
    return await database.fetch_value("SELECT status FROM chat_chat WHERE id = %s", chat_id)


async def test_small_entries_are_committed_while_a_large_one_is_stuck(database, ledger):
    async with database.held_seat(ledger.large):
        [stuck] = begun(make_intent(new_chat_id(), content=LARGE), ledger=ledger)
        await database.until_blocked()

        receipts = await asyncio.gather(*(ledger.append(make_intent(new_chat_id())) for _ in range(50)))

        assert not stuck.done()
        assert len({receipt.id for receipt in receipts}) == 50
    await stuck


async def test_large_entries_are_committed_one_by_one(database, ledger):
    async with database.held_seat(ledger.large):
        appending = begun(*(make_intent(new_chat_id(), content=LARGE) for _ in range(4)), ledger=ledger)
        await database.until_blocked()
    await asyncio.gather(*appending)

    commits = await database.fetch_value(
        "SELECT count(DISTINCT xid::text) FROM ledger_ledgerevent WHERE writer_id = %s", ledger.large.writer_id
    )
    assert commits == 4


async def test_each_lane_has_a_seat_of_its_own(database, ledger):
    ids = [ledger.small.writer_id, ledger.large.writer_id]

    roles = await database.fetch(
        "SELECT role FROM ledger_ledgerwriterrecord WHERE writer_id = ANY(%s) ORDER BY length(role)", ids
    )

    assert roles == [("web",), ("web-large",)]


async def test_a_small_outcome_follows_the_large_intent_that_is_still_under_way(database, ledger):
    chat_id = new_chat_id()
    async with database.held_seat(ledger.large):
        [intent] = begun(make_intent(chat_id, content=LARGE), ledger=ledger)
        await database.until_blocked()
        intent.cancel()
        [outcome] = begun(make_outcome(chat_id), ledger=ledger)
        await ledger.append(make_intent(new_chat_id()))
        assert not outcome.done()

    receipt = await outcome

    assert receipt.writer_seq == 2
    assert await status_of(database, chat_id) == "succeeded"


async def test_the_end_of_a_chat_whose_large_intent_may_be_stored_waits_for_its_lane(database):
    ledger = LedgerLanes(
        conninfo(), large=WriterLimits(silence_timeout_s=0.3, statement_timeout_s=30, first_retry_s=0.5)
    )
    await ledger.start()
    chat_id = new_chat_id()

    async with database.held_seat(ledger.large):
        with pytest.raises(UnsureError):
            await ledger.append(make_intent(chat_id, content=LARGE))
        assert ledger.large.has_pending(chat_id)
        ledger.append_when_up(make_outcome(chat_id))
        assert ledger.is_up
    async with asyncio.timeout(10):
        # The writer announces neither to anybody.
        while not ledger.large.is_up or ledger.large.has_pending(chat_id):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    await ledger.stop()
    assert await database.fetch("SELECT status FROM chat_chat WHERE id = %s AND status = 'started'", chat_id) == []


async def test_a_lane_that_is_down_holds_up_no_other(database, ledger):
    ledger.large._fail((), TimeoutError())

    with pytest.raises(Exception, match="not available"):
        await ledger.append(make_intent(new_chat_id(), content=LARGE))
    receipt = await ledger.append(make_intent(new_chat_id()))

    assert receipt.writer_seq == 1
    assert ledger.is_up


async def test_stopping_writes_what_waits_in_both_lanes(database, ledger):
    small, large = make_intent(new_chat_id()), make_intent(new_chat_id(), content=LARGE)
    appending = begun(small, large, ledger=ledger)
    await asyncio.sleep(0)

    await ledger.stop()

    await asyncio.gather(*appending)
    assert await status_of(database, small.chat_id) == await status_of(database, large.chat_id) == "started"
