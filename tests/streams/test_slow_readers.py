"""Callers that read slowly, or not at all."""

from __future__ import annotations

import json
import threading

from chat.models import Chat, ChatContent, ChatStatus, ContentPart
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import until
from tests.streams.callers import calling

MIB = 1024 * 1024
LATE_S = 30.0


def long_stream(size_bytes: int) -> fakes.Fault:
    chunk = {"choices": [{"index": 0, "delta": {"content": "x" * 65_000}, "finish_reason": None}]}
    piece = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    return fakes.pieces(*[piece] * (size_bytes // len(piece)), last)


def long_whole(size_bytes: int) -> fakes.Fault:
    message = {"role": "assistant", "content": "x" * size_bytes}
    return fakes.body(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode())


def is_stalled(upstream: FakeProvider) -> bool:
    before = upstream.sent_bytes
    threading.Event().wait(0.3)
    return before == upstream.sent_bytes > 0


def test_a_caller_who_reads_nothing_stops_the_provider_and_is_given_up(web, web_key, upstream):
    upstream.always = long_stream(64 * MIB)
    before, rss_bytes = web.held(upstream.port), web.rss_bytes
    with calling(web.url, web_key, count=2) as callers:
        for caller in callers:
            caller.ask()
        until(lambda: is_stalled(upstream))
        sent_bytes, grown_bytes = upstream.sent_bytes, web.rss_bytes - rss_bytes
        until(lambda: Chat.objects.filter(status=ChatStatus.CLIENT_DISCONNECTED).count() == 2, within_s=LATE_S)
        until(lambda: web.held(upstream.port) == before)

    assert sent_bytes < 64 * MIB
    assert grown_bytes < 64 * MIB
    assert min(len(content.body) for content in ChatContent.objects.filter(part=ContentPart.RESPONSE)) > MIB


def test_a_caller_who_takes_nothing_of_a_whole_answer_is_given_up_too(web, web_key, upstream):
    upstream.always = long_whole(8 * MIB)
    before = web.held(upstream.port)
    with calling(web.url, web_key) as [caller]:
        caller.ask(stream=False)
        until(lambda: Chat.objects.filter(status=ChatStatus.SUCCEEDED).exists(), within_s=LATE_S)
        during = web.held(upstream.port)
        until(lambda: web.held(upstream.port).sockets == before.sockets, within_s=LATE_S)

    assert during.sockets == before.sockets + 1


def test_a_slow_caller_gets_the_whole_answer(web, web_key, upstream):
    upstream.always = long_stream(24 * MIB)
    with calling(web.url, web_key) as [caller]:
        caller.ask()
        found = b""
        for _ in range(25):
            threading.Event().wait(0.1)
            found += caller.read(16 * 1024)
        chat = Chat.objects.get()
        found += caller.read_until(b"[DONE]")

    assert chat.status == ChatStatus.STARTED
    assert found.count(b"x") > 23 * MIB
    until(lambda: Chat.objects.get().status == ChatStatus.SUCCEEDED)


def test_a_slow_caller_is_held_to_the_deadline_too(web, web_key, upstream):
    upstream.always = long_stream(64 * MIB)
    with calling(web.url, web_key) as [caller]:
        caller.ask(timeout_s=1)
        until(lambda: is_stalled(upstream))
        threading.Event().wait(1)
        found = caller.read_until(b"\r\n0\r\n\r\n")

    assert b'"provider_timeout"' in found[-400:]
    assert found.count(b"x") < 60 * MIB
    chat = Chat.objects.get()
    assert (chat.status, chat.error_code) == (ChatStatus.TRUNCATED, "provider_timeout")
