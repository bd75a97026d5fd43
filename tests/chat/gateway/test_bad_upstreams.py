"""What a provider does wrong, what the caller is told, and what is recorded: one table, through the running hub."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from chat.history.models import Chat
from chat.ledger.models import ChatContent, ChatStatus
from tests import fakes
from tests.fakes import Answer, FakeProvider, Fault, Signal
from tests.live import LiveHub, closed_chat

PROVIDER_TYPES = ("ollama", "openai", "anthropic", "google", "mistral", "custom")
HELLO = [{"role": "user", "content": "Hello"}]
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@dataclass(frozen=True)
class Bad:
    """One fault. Shape: `error` is the type of the attempt's error in the record."""

    name: str
    fault: Fault
    status: int = 502
    code: str | None = "malformed_reply"
    words: str = ""
    error: str = "MalformedReplyError"
    recorded: str = ChatStatus.FAILED
    type: str = "api_error"
    hits: int = 1

    def provider(self, provider_type: str = "custom") -> str:
        """Return who is asked: one with little patience where that is what is tried."""
        return f"{provider_type}-hasty" if self.code == "provider_timeout" else provider_type


def raw(*pieces: bytes | Signal) -> Fault:
    """Send exactly these bytes for the whole HTTP reply, and close."""
    return lambda answer: replace(answer, is_raw=True, is_chunked=False, pieces=(*pieces, Signal.CUT))


def preceded_by(head: bytes) -> Fault:
    """Send the answer as it would be, with something before its head."""

    def precede(answer: Answer) -> Answer:
        body = b"".join(answer.bodies())
        whole = answer.head() if not answer.is_chunked else OK + b"content-length: %d\r\n\r\n" % len(body)
        return replace(answer, is_raw=True, is_chunked=False, pieces=(head + whole + body,))

    return precede


def completion(**fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], **fields}


def said(content: bytes) -> Fault:
    """Answer whole, with the content as it is written."""
    return fakes.body(json.dumps(completion()).encode().replace(b'"Hi"', content))


def counted(tokens: bytes) -> Fault:
    usage = {"prompt_tokens": "@", "completion_tokens": 1, "total_tokens": 2}
    return fakes.body(json.dumps(completion(usage=usage)).encode().replace(b'"@"', tokens))


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


UPSTREAM = {"code": "provider_error", "error": "UpstreamError"}
REFUSED_KEY = {"code": "provider_auth_error", "error": "CredentialRejectedError"}
MISCONFIGURED = {
    "status": 503,
    "type": "server_error",
    "code": "provider_misconfigured",
    "error": "ConfigurationError",
}
CUT_SHORT = {"code": "truncated_reply", "error": "TruncatedReplyError", "recorded": ChatStatus.TRUNCATED}
LIMITED = {"status": 429, "type": "rate_limit_error", "code": "rate_limit_exceeded", "error": "RateLimitedError"}
STALLED = {"status": 504, "code": "provider_timeout", "words": "within 1 s", "error": "ProviderTimeoutError"}

BEFORE_THE_ANSWER = [
    Bad("reset before the head", fakes.cut_before_headers(), words="connection closed by", **UPSTREAM),
    Bad("reset in the head", raw(b"HTTP/1.1 200 OK\r\ncontent-ty"), words="connection closed by", **UPSTREAM),
    Bad("reset after the head", raw(OK + b"content-length: 5\r\n\r\n"), words="in mid-reply", **UPSTREAM),
    Bad("a stall before the head", fakes.stall_before_headers(), **STALLED),
    Bad("another protocol", fakes.not_http(), words="does not answer in HTTP", **UPSTREAM),
    Bad("garbage bytes", raw(bytes(range(256)) * 64), words="does not answer in HTTP", **UPSTREAM),
    Bad("no status", raw(b"HTTP/1.1 abc\r\n\r\n"), words="does not answer in HTTP", **UPSTREAM),
    Bad("a huge header", raw(OK + b"x: " + b"v" * 100_000 + b"\r\n\r\n"), words="in HTTP", **UPSTREAM),
    Bad("thousands of headers", raw(OK + b"x: v\r\n" * 50_000 + b"\r\n"), words="in HTTP", **UPSTREAM),
    Bad("a bad chunk", raw(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n"), **UPSTREAM),
    Bad("a gzip bomb", fakes.gzip_bomb(), words="compressed its reply"),
    Bad("no such encoding", fakes.body(b"x", content_encoding="rot13"), words="compressed its reply"),
    Bad("a page", fakes.wrong_content_type()),
    Bad("an error inside 200", fakes.error_in_200(), words="Scripted failure.", **UPSTREAM),
    Bad("a redirect", fakes.redirect("http://127.0.0.1:9/"), words="redirects are not followed", **MISCONFIGURED),
    Bad("400", fakes.status(400), 400, None, "Scripted failure.", "RequestRejectedError", type="invalid_request_error"),
    Bad("401", fakes.status(401), **REFUSED_KEY),
    Bad("403", fakes.status(403), **REFUSED_KEY),
    Bad("500", fakes.status(500), words="Scripted failure.", **UPSTREAM),
    Bad("a page of 502", fakes.body(b"<html>", status=502, content_type="text/html"), **UPSTREAM),
    Bad("999", fakes.body(b"", status=999), **UPSTREAM),
]

WHOLE = [
    Bad("an empty body", fakes.body(b""), words="not JSON"),
    Bad("no content", fakes.body(b"", status=204), words="not JSON"),
    Bad("a stall in the body", fakes.stall_after(0), **STALLED),
    Bad("reset in the body", raw(OK + b'content-length: 50\r\n\r\n{"id":'), words="in mid-reply", **UPSTREAM),
    Bad("longer than it says", raw(OK + b'content-length: 6\r\n\r\n{"id":"x"}'), words="in HTTP", **UPSTREAM),
    Bad("half of a document", fakes.body(json.dumps(completion()).encode()[:-9]), words="not JSON"),
    Bad("a list", fakes.body(b"[]"), words="holds no choices"),
    Bad("an empty object", fakes.body(b"{}")),
    Bad("no choices", fakes.body(json.dumps(completion(choices=None)).encode())),
    Bad("a choice that is none", fakes.body(json.dumps(completion(choices=[7])).encode())),
    Bad("10,000 levels", said(deep(10_000)), words="not JSON"),
    Bad("900 levels in another field", fakes.body(b'{"x":' + deep(1020) + b',"choices":[]}')),
    Bad(
        "compressed though asked not to", fakes.body(gzip.compress(b"{}"), content_encoding="gzip"), words="compressed"
    ),
]

STREAMED = [
    Bad("a stall before the first chunk", fakes.slow_first_token(), **STALLED),
    Bad("garbage frames", fakes.garbage()),
    Bad("a gigantic line", fakes.gigantic_line()),
    Bad("no frames", fakes.empty_stream(), **CUT_SHORT),
    Bad("an empty body", fakes.body(b""), **CUT_SHORT),
    Bad("no content", fakes.body(b"", status=204), **CUT_SHORT),
    Bad("an error frame at first", fakes.error_frame_after(0), words="Scripted failure.", **UPSTREAM),
]

BROKEN = {"recorded": ChatStatus.TRUNCATED}
MID_STREAM = [
    Bad("reset", fakes.cut_after(3), words="in mid-reply", **UPSTREAM, **BROKEN),
    Bad("an early end", fakes.end_after(3), **CUT_SHORT),
    Bad("a stall", fakes.stall_after(3), **STALLED, **BROKEN),
    Bad("a frame that is none", fakes.bad_line_after(3), **BROKEN),
    Bad("an error frame", fakes.error_frame_after(3), words="Scripted failure.", **UPSTREAM, **BROKEN),
]


@dataclass(frozen=True)
class Stage:
    hub: LiveHub
    key: str
    upstreams: dict[str, FakeProvider]

    def ask(self, provider: str = "custom", *, stream: bool = False) -> httpx.Response:
        body = {"model": f"{provider}/m", "messages": HELLO, "stream": stream}
        return self.hub.client.post("/v1/chat/completions", json=body, headers=self.hub.headers(self.key))


@pytest.fixture(scope="module")
def stage(running_hub: LiveHub) -> Iterator[Stage]:
    running_hub.reset()
    upstreams = {name: FakeProvider(name, api_key="sk-own-0123456789") for name in PROVIDER_TYPES}
    for name, fake in upstreams.items():
        fake.__enter__()
        for provider, timeout_s in ((name, 30), (f"{name}-hasty", 1)):
            running_hub.add_provider(
                fake, name=provider, provider_type=name, api_key=fake.api_key, default_model="m", timeout=timeout_s
            )
    yield Stage(running_hub, running_hub.issue_key(), upstreams)
    for fake in upstreams.values():
        fake.__exit__(None, None, None)
    running_hub.reset()


def check_record(case: Bad, reply: httpx.Response, provider: str) -> None:
    chat = closed_chat(reply.headers["x-request-id"])
    assert (chat.status, chat.error_type, chat.error_code or None) == (case.recorded, case.type, case.code)
    [attempt] = chat.attempts
    assert (attempt["provider"], attempt["ok"], attempt["error_type"]) == (provider, False, case.error)


def check_refusal(case: Bad, reply: httpx.Response, provider: str) -> None:
    error = reply.json()["error"]
    assert (reply.status_code, error["type"], error["code"]) == (case.status, case.type, case.code), error
    assert case.words in error["message"]
    check_record(case, reply, provider)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", BEFORE_THE_ANSWER, ids=lambda case: case.name)
def test_what_goes_wrong_before_the_answer_has_a_status_and_a_record(stage, case, stream):
    fake = stage.upstreams["custom"]
    fake.requests.clear()
    fake.fail(case.fault)

    reply = stage.ask(case.provider(), stream=stream)

    check_refusal(case, reply, case.provider())
    assert len(fake.chats) == case.hits


@pytest.mark.parametrize(
    ("case", "stream"),
    [pytest.param(case, False, id=f"whole: {case.name}") for case in WHOLE]
    + [pytest.param(case, True, id=f"streamed: {case.name}") for case in STREAMED],
)
def test_an_answer_that_is_none_has_a_status_and_a_record(stage, case, stream):
    fake = stage.upstreams["custom"]
    fake.requests.clear()
    fake.fail(case.fault)

    reply = stage.ask(case.provider(), stream=stream)

    check_refusal(case, reply, case.provider())
    assert len(fake.chats) == case.hits


@pytest.mark.parametrize("provider", PROVIDER_TYPES)
@pytest.mark.parametrize("case", MID_STREAM, ids=lambda case: case.name)
def test_a_stream_that_breaks_ends_in_an_error_and_is_recorded_with_what_came(stage, case, provider):
    fake = stage.upstreams[provider]
    fake.requests.clear()
    fake.fail(case.fault)

    reply = stage.ask(case.provider(provider), stream=True)

    assert reply.status_code == 200
    *_, last = reply.text.strip().split("\n\n")
    error = json.loads(last.removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == (case.type, case.code)
    assert case.words in error["message"]
    check_record(case, reply, case.provider(provider))
    assert b"Hello" in bytes(ChatContent.objects.get(chat_id=reply.headers["x-request-id"], part="response").body)
    assert len(fake.chats) == case.hits


IN_EVERY_FORMAT = ("reset before the head", "a gzip bomb", "a page", "an error inside 200", "a redirect", "401", "500")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", PROVIDER_TYPES)
@pytest.mark.parametrize(
    "case", [case for case in BEFORE_THE_ANSWER if case.name in IN_EVERY_FORMAT], ids=lambda c: c.name
)
def test_every_format_fails_alike(stage, case, provider, stream):
    stage.upstreams[provider].fail(case.fault)

    check_refusal(case, stage.ask(provider, stream=stream), provider)


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("7", "7"),
        ("0", "0"),
        ("1.5", "2"),
        ("86400", "60"),
        ("-5", "0"),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("9" * 400, None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "60"),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "0"),
        ("\xff", None),
    ],
)
def test_a_rate_limits_hint_is_passed_on_where_it_makes_sense(stage, hint, told):
    stage.upstreams["custom"].fail(fakes.status(429, retry_after=hint))

    reply = stage.ask()

    check_refusal(Bad("", lambda answer: answer, **LIMITED), reply, "custom")
    assert reply.headers.get("retry-after") == told


@pytest.mark.parametrize(
    "tokens", ["18446744073709551616", "-5", "1.5", "NaN", "-Infinity", '"5"', "null", "{}", "true"]
)
def test_a_count_that_is_none_spoils_no_answer_and_is_estimated(stage, tokens):
    stage.upstreams["custom"].fail(counted(tokens.encode()))

    reply = stage.ask()

    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == "Hi"
    chat = closed_chat(reply.headers["x-request-id"])
    assert (chat.status, chat.prompt_tokens, chat.usage_source) == (ChatStatus.SUCCEEDED, 2, "estimated")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_answers_announced_a_thousand_times_are_still_read(stage, stream):
    stage.upstreams["custom"].fail(preceded_by(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1000))

    reply = stage.ask(stream=stream)

    assert (reply.status_code, "Hello" in reply.text) == (200, True)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("content", [b'"a\xffb"', rb'"a\ud800b"'], ids=["not UTF-8", "half of a surrogate pair"])
def test_a_character_that_is_none_spoils_no_answer(stage, content, stream):
    frame = b'data: {"choices":[{"index":0,"delta":{"content":' + content + b'},"finish_reason":"stop"}]}\n\n'
    stage.upstreams["custom"].fail(fakes.pieces(frame, b"data: [DONE]\n\n") if stream else said(content))

    reply = stage.ask(stream=stream)

    assert "a\ufffdb" in reply.content.decode()
    chat = closed_chat(reply.headers["x-request-id"])
    assert chat.status == ChatStatus.SUCCEEDED
    assert "a\ufffdb" in bytes(ChatContent.objects.get(chat_id=chat.pk, part="response").body).decode()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_nul_in_an_answer_is_told_and_recorded_escaped(stage, stream):
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"a\\u0000b"},"finish_reason":"stop"}]}\n\n'
    stage.upstreams["custom"].fail(fakes.pieces(frame, b"data: [DONE]\n\n") if stream else said(rb'"a\u0000b"'))

    reply = stage.ask(stream=stream)

    assert r"a\u0000b" in reply.text
    chat = closed_chat(reply.headers["x-request-id"])
    assert chat.status == ChatStatus.SUCCEEDED
    assert rb"a\u0000b" in bytes(ChatContent.objects.get(chat_id=chat.pk, part="response").body)


def test_a_name_of_a_model_with_odd_characters_adds_no_header(stage):
    stage.upstreams["custom"].fail(fakes.body(json.dumps(completion(model="m\r\nx-evil: 1\x00")).encode()))

    reply = stage.ask()

    assert "x-evil" not in reply.headers
    assert Chat.objects.get(pk=reply.headers["x-request-id"]).status == ChatStatus.SUCCEEDED
