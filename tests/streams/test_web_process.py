"""Streams through one web process of its own: by the hundred, left, slowly read, and silent.

It is given six connections to the database, and little patience.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from chat.history.models import Chat
from chat.ledger.models import ChatContent, ChatStatus, ContentKind
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import until
from tests.streams.callers import ASK, Caller, Listening, body_of, calling
from tests.streams.conftest import FEW, SILENCE_S, loading
from tests.streams.faults import long_answer, stall_in_mid_frame, stall_then_refuse
from tests.streams.load import END, Load
from tests.streams.web import Held, Web

LEFT = ChatStatus.CLIENT_DISCONNECTED
PAGES = ("/admin/", "/admin/providers/providerconfig/", "/api/status", "/api/providers", "/admin/chat/chat/")
LATE_S = 30.0
MIB = 1024 * 1024
PING = b": ping\n\n"
OPENAI = ("/v1/chat/completions", {}, b"[DONE]")
HUB = ("/api/chat/multi", {"provider": "up", "model": "m"}, b"event: done")
SILENCES = {
    "before the head": fakes.stall_before_headers(),
    "before the first token": fakes.stall_after(1),
    "in mid-stream": fakes.stall_after(3),
    "in mid-frame": stall_in_mid_frame,
}


@pytest.fixture
def caller(web: Web, web_key: str) -> Iterator[Caller]:
    with calling(web.url, web_key) as [one]:
        yield one


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
        visits = [browsers.submit(httpx.get, web.url + path, cookies=session, timeout=LATE_S) for path in PAGES * 4]
        counts = [database_connections(few_connections)]
        while not all(visit.done() for visit in visits):
            counts.append(database_connections(few_connections))
        upstream.release()
        streams = outcome()

    assert {visit.result().status_code for visit in visits} == {200}
    assert 3 <= max(counts) <= FEW  # the ledger's, those that follow the configuration, and those of the pages
    assert (streams.whole, streams.broken) == (200, 0)
    assert ended(ChatStatus.SUCCEEDED, 200)


def recorded_answers(status: ChatStatus) -> list[str]:
    chats = list(Chat.objects.filter(status=status).values_list("pk", flat=True))
    contents = ChatContent.objects.filter(chat_id__in=chats, part=ContentKind.RESPONSE)
    return [bytes(body).decode() for body in contents.values_list("body", flat=True)]


@pytest.mark.parametrize(
    ("stream", "fault", "partial"),
    [
        pytest.param(False, fakes.stall_before_headers(), "", id="before the first byte"),
        pytest.param(True, fakes.stall_after(3), "Hello", id="in mid-stream"),
    ],
)
def test_five_hundred_callers_who_vanish_leave_nothing_and_the_next_is_answered(
    web, web_key, upstream, stream, fault, partial
):
    before = at_rest(web, upstream)
    upstream.always = fault
    with calling(web.url, web_key, count=500) as callers:
        for caller in callers:
            caller.ask(stream=stream)
        for caller in callers if partial else ():
            caller.read_until(partial.encode())
        until(lambda: len(upstream.chats) == 500, within_s=LATE_S)
    until(lambda: ended(LEFT, 500), within_s=LATE_S)
    upstream.always = None
    with calling(web.url, web_key) as [caller]:
        caller.ask()
        whole = caller.read_until(b"[DONE]")

    assert b"[DONE]" in whole
    assert [partial in answer for answer in recorded_answers(LEFT)] == [True] * 500
    until(lambda: at_rest(web, upstream) == before)
    assert web.held(upstream.port).upstream <= 1


def test_six_hundred_streams_leave_memory_tasks_and_sockets_as_they_were(web, web_key, upstream):
    whole = []
    for streams in (200, 600):
        before, rss_bytes = at_rest(web, upstream), web.rss_bytes
        with loading(load(web, web_key, streams=streams, at_once=32)) as outcome:
            whole.append(outcome().whole)

    assert whole == [200, 600]
    until(lambda: at_rest(web, upstream) == before)
    assert web.rss_bytes == pytest.approx(rss_bytes, rel=0.1)


def is_stalled(upstream: FakeProvider) -> bool:
    before = upstream.sent_bytes
    threading.Event().wait(0.3)
    return before == upstream.sent_bytes > 0


def test_callers_who_read_nothing_stop_the_provider_and_are_given_up(web, web_key, upstream):
    upstream.always = long_answer(stream_bytes=64 * MIB, whole_bytes=8 * MIB)
    before, rss_bytes = at_rest(web, upstream), web.rss_bytes
    with calling(web.url, web_key, count=3) as callers:
        for caller, stream in zip(callers, (True, True, False), strict=True):
            caller.ask(stream=stream)
        until(lambda: ended(ChatStatus.SUCCEEDED, 1) and is_stalled(upstream), within_s=LATE_S)
        during, sent_bytes, grown_bytes = web.held(upstream.port), upstream.sent_bytes, web.rss_bytes - rss_bytes
        until(lambda: ended(LEFT, 2), within_s=LATE_S)
        until(lambda: at_rest(web, upstream) == before, within_s=LATE_S)

    assert during.sockets == before.sockets + 3
    assert sent_bytes < 64 * MIB
    assert grown_bytes < 96 * MIB
    assert min(len(answer) for answer in recorded_answers(LEFT)) > MIB


def test_a_slow_caller_gets_the_whole_answer(web, web_key, upstream):
    upstream.always = long_answer(stream_bytes=24 * MIB)
    with calling(web.url, web_key) as [caller]:
        caller.ask()
        found = b""
        for _ in range(20):
            threading.Event().wait(0.1)
            found += caller.read(16 * 1024)
        chat = Chat.objects.get()
        found += caller.read_until(b"[DONE]")

    assert chat.status == ChatStatus.STARTED
    assert found.count(b"x") > 23 * MIB
    until(lambda: ended(ChatStatus.SUCCEEDED, 1))


def test_a_slow_caller_is_held_to_the_deadline_too(web, web_key, upstream):
    upstream.always = long_answer(stream_bytes=64 * MIB)
    with calling(web.url, web_key) as [caller]:
        caller.ask(timeout_s=1)
        until(lambda: is_stalled(upstream))
        threading.Event().wait(1)
        found = caller.read_until(END)

    assert b'"provider_timeout"' in found[-400:]
    assert found.count(b"x") < 60 * MIB
    chat = Chat.objects.get()
    assert (chat.status, chat.error_code) == (ChatStatus.TRUNCATED, "provider_timeout")


def sdk_text(sdk: openai.OpenAI) -> str:
    chunks = sdk.chat.completions.create(model="up/m", messages=ASK, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.mark.parametrize(
    ("path", "asked", "end", "fault"),
    [
        *(pytest.param(*OPENAI, fault, id=f"openai, {name}") for name, fault in SILENCES.items()),
        *(pytest.param(*HUB, SILENCES[name], id=f"hub, {name}") for name in ("before the head", "in mid-frame")),
    ],
)
def test_comments_fill_a_silence_between_whole_frames_alone_and_end_with_it(caller, upstream, path, asked, end, fault):
    upstream.fail(fault)
    caller.ask(path=path, **asked)
    answer = caller.read_until(PING) + caller.read_until(PING)
    upstream.release()
    answer += caller.read_until(END)

    frames = body_of(answer).removesuffix(b"\n\n").split(b"\n\n")
    assert frames.count(b": ping") >= 2
    assert {frame.split(b":")[0] for frame in frames} <= {b"", b"data", b"event"}
    assert end in frames[-1]
    assert caller.is_silent(for_s=SILENCE_S * 2.5)


@pytest.mark.parametrize("silence", ["before the head", "in mid-frame"])
def test_the_official_client_does_not_notice_comments(web, web_key, upstream, silence):
    upstream.fail(SILENCES[silence])
    listening = Listening()
    with (
        openai.OpenAI(base_url=f"{web.url}/v1", api_key=web_key, max_retries=0, http_client=listening.client) as sdk,
        ThreadPoolExecutor() as pool,
    ):
        text = pool.submit(sdk_text, sdk)
        until(lambda: listening.heard.count(PING) >= 2, within_s=LATE_S)
        upstream.release()

        assert text.result(LATE_S) == "Hello from the fake."


def test_what_fails_once_a_comment_was_sent_is_told_in_the_stream(caller, upstream):
    upstream.fail(stall_then_refuse)
    caller.ask()
    head = caller.read_until(PING)
    upstream.release()
    rest = caller.read_until(END)

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'"error"' in rest
    assert b"[DONE]" not in rest
    until(lambda: Chat.objects.get().status == ChatStatus.FAILED)


def test_a_caller_who_leaves_in_a_silence_closes_the_provider_and_is_recorded(caller, upstream):
    upstream.fail(fakes.stall_after(3))
    caller.ask()
    caller.read_until(PING)

    caller.reset()

    assert upstream.hung_up.wait(1)
    until(lambda: Chat.objects.get().status == ChatStatus.CLIENT_DISCONNECTED)
