import asyncio
import uuid

import pytest

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway import rejections
from chat.gateway.exchange import Exchange
from chat.gateway.recorder import Recorder
from chat.gateway.rejections import Rejections
from chat.ledger.content import make_content, unread_content
from chat.ledger.errors import EntryRefusedError, LedgerUnavailableError
from chat.ledger.events import Caller, RequestSummary
from providers.error_table import ServedError

REVOKED = ServedError(status=401, type="invalid_request_error", code="invalid_api_key", message="revoked")
BAD = ServedError(status=400, type="invalid_request_error", message="bad")
NOBODY = Caller(application="acme", api_key="lh_abc")


class Ledger:
    """A database that keeps what it is given, while it is there."""

    def __init__(self):
        self.entries = []
        self.is_up = True
        self.refused = None
        self.has_grown = asyncio.Event()

    async def append(self, entry, **_):
        if not self.is_up:
            raise LedgerUnavailableError
        if entry.chat_id == self.refused:
            raise EntryRefusedError
        self.entries.append(entry)
        self.has_grown.set()

    @property
    def repeats(self):
        return [
            int(entry.event.partition('"repeats":')[2].partition("}")[0].partition(",")[0] or 0)
            for entry in self.entries
        ]


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def found(ledger):
    return Rejections(Recorder(ledger), minute_s=60)


def new_exchange(caller=NOBODY, *, content=None):
    return Exchange(
        chat_id=uuid.uuid4(),
        started_s=0,
        dialect=OpenAIDialect(),
        recorder=None,
        caller=caller,
        summary=RequestSummary(dialect="openai", model_name=""),
        content=content or unread_content(31_000_000),
    )


async def refuse(found, problem=REVOKED, *, times=1, is_in_force=False, caller=NOBODY, content=None):
    exchanges = [new_exchange(caller, content=content) for _ in range(times)]
    for one in exchanges:
        await found.record(one, problem, is_in_force=is_in_force)
    return [one.chat_id for one in exchanges]


async def test_of_a_key_that_is_not_in_force_the_first_is_recorded_and_the_others_are_counted(found, ledger):
    ids = await refuse(found, times=1000)
    assert len(ledger.entries) == 1

    await found.finish()

    assert ledger.repeats == [0, 999]
    assert [entry.chat_id for entry in ledger.entries] == [ids[0], ids[1]]
    assert set(ids[1:]) == {ids[1]}, "who is only counted gets the id of the entry that tells of it"


async def test_no_body_of_what_is_only_counted_is_kept(found, ledger):
    await refuse(found, times=3)
    await found.finish()

    assert [entry.content for entry in ledger.entries] == [None, None]
    assert sum(entry.size_bytes for entry in ledger.entries) < 4096


async def test_other_errors_and_other_keys_have_a_first_of_their_own(found, ledger):
    await refuse(found, times=2)
    await refuse(found, BAD, times=2)
    await refuse(found, times=2, caller=Caller(application="acme", api_key="lh_xyz"))

    assert len(ledger.entries) == 3


async def test_what_a_caller_makes_up_does_not_make_it_another(found, ledger):
    for number in range(10):
        made_up = Caller(application="acme", api_key="lh_abc", end_user=f"u{number}", address=f"192.0.2.{number}")
        await refuse(found, caller=made_up)

    assert len(ledger.entries) == 1


async def test_of_a_key_in_force_each_is_recorded_with_its_body_up_to_a_number(found, ledger, monkeypatch):
    monkeypatch.setattr(rejections, "KEPT_ENTRIES", 5)

    await refuse(found, BAD, times=20, is_in_force=True, content=make_content(b"[]"))
    assert [entry.content.size_bytes for entry in ledger.entries] == [2] * 5

    await found.finish()
    assert ledger.repeats == [0] * 5 + [15]


async def test_of_a_key_in_force_bodies_are_kept_up_to_a_size(found, ledger, monkeypatch):
    monkeypatch.setattr(rejections, "KEPT_BYTES", 10)

    await refuse(found, BAD, times=4, is_in_force=True, content=make_content(b"[1,2]"))

    assert [entry.content is not None for entry in ledger.entries] == [True, True, False, False]
    assert all('"content_bytes":5' in entry.event for entry in ledger.entries)


async def test_the_minute_ends_by_itself_and_another_begins(ledger):
    found = Rejections(Recorder(ledger), minute_s=0)
    await refuse(found, times=2)
    ledger.has_grown.clear()
    await ledger.has_grown.wait()

    await refuse(found)

    assert ledger.repeats == [0, 1, 0]


async def test_a_stop_as_the_minute_ends_records_what_was_counted_once(ledger):
    found = Rejections(Recorder(ledger), minute_s=0)
    await refuse(found, times=3)
    loop = asyncio.get_running_loop()
    stopping = loop.create_future()
    loop.call_soon(lambda: stopping.set_result(loop.create_task(found.finish())))

    await (await stopping)

    assert ledger.repeats == [0, 2]


async def test_what_cannot_be_recorded_at_the_minutes_end_is_counted_on(found, ledger):
    await refuse(found, times=3)
    ledger.is_up = False
    await found.finish()
    ledger.is_up = True
    await refuse(found, times=3)

    await found.finish()

    assert sum(ledger.repeats) + ledger.repeats.count(0) == 6


async def test_a_count_that_the_database_refuses_is_told_in_the_log_and_not_counted_on(found, ledger, caplog):
    *_, ledger.refused = await refuse(found, times=3)

    await found.finish()
    await refuse(found, times=2)
    await found.finish()

    assert ledger.repeats == [0, 0, 1]
    assert caplog.messages == ["The number of 2 refused chats could not be recorded."]
