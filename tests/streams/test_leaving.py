"""Callers who leave, at every moment of a chat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from chat.history.models import Chat
from chat.ledger.models import ChatContent, ChatStatus, ContentKind, LedgerEvent
from llmhub.runtime.database import conninfo
from tests import fakes
from tests.live import until
from tests.streams.callers import Caller, calling

BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%ledger_append%'
"""


@pytest.fixture
def caller(hub, key) -> Iterator[Caller]:
    with calling(hub.url, key) as [one]:
        yield one


@contextmanager
def ledger_held() -> Iterator[None]:
    """Let the ledger's writer wait, from before a commit to the end of the block."""
    with psycopg.connect(conninfo()) as other:
        other.execute("SELECT FROM ledger_ledgerwriterrecord FOR UPDATE")
        yield


def until_the_writer_waits() -> None:
    def is_waiting() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(BLOCKED)
            return bool(cursor.fetchone()[0])

    until(is_waiting)


def recorded_answer() -> str:
    return bytes(ChatContent.objects.get(part=ContentKind.RESPONSE, chat_id=Chat.objects.get().pk).body).decode()


@pytest.mark.parametrize(
    ("stream", "fault", "partial"),
    [
        pytest.param(False, fakes.stall_before_headers(), "null", id="whole, before the head"),
        pytest.param(False, fakes.stall_after(0), "null", id="whole, before the body"),
        pytest.param(True, fakes.stall_before_headers(), "", id="stream, before the head"),
        pytest.param(True, fakes.stall_after(0), "", id="stream, before the first piece"),
        pytest.param(True, fakes.stall_after(1), "", id="stream, before the first content"),
        pytest.param(True, fakes.stall_after(3), "Hello from", id="stream, in the middle"),
        pytest.param(True, fakes.stall_after(6), "Hello from the fake.", id="stream, before its end"),
    ],
)
def test_a_caller_who_leaves_closes_the_provider_within_a_second_and_is_recorded(
    caller, upstream, stream, fault, partial
):
    upstream.fail(fault)
    caller.ask(stream=stream)
    assert upstream.stalled.wait(5)
    if stream and partial:
        caller.read_until(partial.split()[-1].encode())

    caller.reset()

    assert upstream.hung_up.wait(1)
    until(lambda: Chat.objects.filter(status=ChatStatus.CLIENT_DISCONNECTED).exists())
    assert partial in recorded_answer()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nobody_is_asked_for_a_caller_who_leaves_while_the_request_is_recorded(caller, upstream, stream):
    with ledger_held():
        caller.ask(stream=stream)
        until_the_writer_waits()
        caller.reset()

    until(lambda: Chat.objects.filter(status=ChatStatus.CLIENT_DISCONNECTED).exists())
    assert upstream.chats == []


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        pytest.param(False, fakes.stall_before_headers(), id="whole"),
        pytest.param(True, fakes.stall_after(3), id="stream"),
    ],
)
def test_a_caller_who_leaves_while_the_answer_is_recorded_leaves_one_whole_outcome(caller, upstream, stream, fault):
    upstream.fail(fault)
    caller.ask(stream=stream)
    assert upstream.stalled.wait(5)
    with ledger_held():
        upstream.release()
        until_the_writer_waits()
        caller.reset()

    until(lambda: Chat.objects.exclude(status=ChatStatus.STARTED).exists())
    chat = Chat.objects.get()
    kinds = LedgerEvent.objects.filter(chat_id=chat.pk).order_by("id").values_list("kind", flat=True)
    assert (chat.status, list(kinds)) == (ChatStatus.SUCCEEDED, ["intent", "outcome"])
    assert "Hello from the fake." in recorded_answer()
