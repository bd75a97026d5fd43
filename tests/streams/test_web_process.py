"""Streams by the hundred through one web process that is given five connections to the database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from chat.models import Chat, ChatContent, ChatStatus, ContentPart
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import until
from tests.streams.callers import calling
from tests.streams.conftest import FEW, loading
from tests.streams.load import Load
from tests.streams.web import Held, Web

LEFT = ChatStatus.CLIENT_DISCONNECTED
PAGES = ("/admin/", "/admin/providers/providerconfig/", "/api/status", "/api/providers", "/admin/chat/chat/")
LATE_S = 30.0


@pytest.fixture
def session(web_key: str) -> Iterator[dict[str, str]]:
    user = User.objects.create_superuser("ada")
    browser = Client()
    browser.force_login(user)
    yield {settings.SESSION_COOKIE_NAME: browser.cookies[settings.SESSION_COOKIE_NAME].value}
    user.delete()


def load(web: Web, key: str, *, streams: int, at_once: int) -> Load:
    return Load(url=web.url, key=key, model="up/m", streams=streams, at_once=at_once)


def database_connections(role: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [role])
        return int(cursor.fetchone()[0])


def at_rest(web: Web, upstream: FakeProvider) -> Held:
    """Return what the process holds after a chat, when nobody calls."""
    held = web.held(upstream.port)
    return held._replace(upstream=0)


def ended(status: ChatStatus, count: int) -> bool:
    return Chat.objects.filter(status=status).count() == count


def test_two_hundred_streams_run_beside_pages_on_five_database_connections(
    web, web_key, session, upstream, few_connections
):
    upstream.always = fakes.stall_after(3)
    with loading(load(web, web_key, streams=200, at_once=200)) as outcome, ThreadPoolExecutor(8) as browsers:
        until(lambda: len(upstream.chats) == 200, within_s=LATE_S)
        visits = [browsers.submit(httpx.get, web.url + path, cookies=session, timeout=LATE_S) for path in PAGES * 8]
        counts = [database_connections(few_connections)]
        while not all(visit.done() for visit in visits):
            counts.append(database_connections(few_connections))
        upstream.release()
        streams = outcome()

    assert {visit.result().status_code for visit in visits} == {200}
    assert 3 <= max(counts) <= FEW  # the ledger's, the listener's, and those of the pages
    assert (streams.whole, streams.broken) == (200, 0)
    assert ended(ChatStatus.SUCCEEDED, 200)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        pytest.param(fakes.stall_before_headers(), b"", id="before the first byte"),
        pytest.param(fakes.stall_after(3), b"Hello", id="in mid-stream"),
    ],
)
def test_five_hundred_callers_who_vanish_leave_nothing_and_the_next_is_answered(web, web_key, upstream, fault, seen):
    before = at_rest(web, upstream)
    upstream.always = fault
    with calling(web.url, web_key, count=500) as callers:
        for caller in callers:
            caller.ask()
        for caller in callers if seen else ():
            assert seen in caller.read_until(seen)
        until(lambda: len(upstream.chats) == 500, within_s=LATE_S)
    until(lambda: ended(LEFT, 500), within_s=LATE_S)
    upstream.always = None
    with calling(web.url, web_key) as [caller]:
        caller.ask()
        whole = caller.read_until(b"[DONE]")

    assert b"[DONE]" in whole
    partial = ChatContent.objects.filter(
        part=ContentPart.RESPONSE, body__contains="Hello", chat_id__in=chats_that(LEFT)
    )
    assert partial.count() == (500 if seen else 0)
    until(lambda: web.held(upstream.port)._replace(upstream=0) == before)
    assert web.held(upstream.port).upstream <= 1


def chats_that(status: ChatStatus) -> list[object]:
    return list(Chat.objects.filter(status=status).values_list("pk", flat=True))


def test_six_hundred_streams_leave_memory_tasks_and_sockets_as_they_were(web, web_key, upstream):
    whole = []
    for streams in (200, 600):
        before, rss_bytes = at_rest(web, upstream), web.rss_bytes
        with loading(load(web, web_key, streams=streams, at_once=32)) as outcome:
            whole.append(outcome().whole)

    assert whole == [200, 600]
    until(lambda: at_rest(web, upstream) == before)
    assert web.rss_bytes == pytest.approx(rss_bytes, rel=0.1)
