"""Requests hidden in requests: whatever a caller frames oddly is refused, or read in one way only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone

from tests.attacks.wire import Reply, Wire
from tests.fakes import FakeProvider
from tests.live import LiveHub

HIDDEN = b"GET /v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
"""Would be answered with its own path, were it ever taken for a request."""

LAST = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


@dataclass
class Stage:
    hub: LiveHub
    upstream: FakeProvider
    keys: dict[str, str]

    def connect(self) -> Wire:
        return Wire(self.hub.url)

    def head(
        self, *lines: bytes, key: str = "valid", path: str = "/v1/chat/completions", method: str = "POST"
    ) -> bytes:
        """Return the head of a request, with whatever more lines there are."""
        first = [f"{method} {path} HTTP/1.1", "host: localhost", "content-type: application/json"]
        sent = [f"x-api-key: {self.keys[key]}"] if key in self.keys else []
        return b"\r\n".join([*(line.encode() for line in (*first, *sent)), *lines, b"", b""])


@pytest.fixture(scope="module")
def stage(running_hub: LiveHub) -> Iterator[Stage]:
    running_hub.reset()
    with FakeProvider("custom") as fake:
        running_hub.add_provider(fake, name="up", models=("m",))
        keys = {
            "valid": running_hub.issue_key(),
            "revoked": running_hub.issue_key(revoked_at=timezone.now()),
            "no scope": running_hub.issue_key(scopes=("providers:read",)),
            "unknown": "lh_" + "0" * 43,
        }
        yield Stage(running_hub, fake, keys)
    running_hub.reset()


REFUSED_EARLY = [
    pytest.param({"key": "none"}, 401, id="no key"),
    pytest.param({"key": "unknown"}, 401, id="an unknown key"),
    pytest.param({"key": "revoked"}, 401, id="a revoked key"),
    pytest.param({"key": "no scope"}, 403, id="a key without the scope"),
    pytest.param({}, 400, id="no JSON"),
    pytest.param({"path": "/v1/nothing"}, 404, id="no such path"),
    pytest.param({"path": "/v1/models"}, 405, id="a method that is not taken"),
    pytest.param({"path": "/healthz"}, None, id="a probe"),
    pytest.param({"path": "/api/providers", "key": "none"}, 401, id="the API without a key"),
    pytest.param({"path": "/api/providers/register", "key": "no scope"}, 403, id="the API without the scope"),
    pytest.param({"path": "/api/nothing"}, 404, id="a page that is not"),
    pytest.param({"path": "/admin/login/"}, 403, id="a form without its token"),
]


def plain(stage: Stage, body: bytes, request: dict[str, Any]) -> list[bytes]:
    return [stage.head(b"content-length: %d" % len(body), **request), body]


def chunked(stage: Stage, body: bytes, request: dict[str, Any]) -> list[bytes]:
    return [stage.head(b"transfer-encoding: chunked", **request), b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)]


def in_chunks(stage: Stage, body: bytes, request: dict[str, Any]) -> list[bytes]:
    """Let the hidden request begin where a chunk does."""
    pad = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (b"x" * 70_000, body))
    return [stage.head(b"transfer-encoding: chunked", **request), pad + b"0\r\n\r\n"]


def long(stage: Stage, body: bytes, request: dict[str, Any]) -> list[bytes]:
    """Let the hidden request come when the hub has long stopped to read."""
    pad = b"x" * 600_000
    return [stage.head(b"content-length: %d" % (len(pad) + len(body)), **request), pad, body]


Frame = Callable[[Stage, bytes, dict[str, Any]], list[bytes]]
FRAMES = [plain, chunked, in_chunks, long]


def assert_nothing_was_smuggled(replies: list[Reply], *, status: int | None) -> None:
    """The one refusal, and either the last request's own answer or the end of the connection."""
    assert b"smuggled" not in b"".join(reply.body for reply in replies)
    assert [reply.status for reply in replies[:1]] == [status or replies[0].status]
    assert [reply.status for reply in replies[1:]] in ([], [200])
    assert [reply.body for reply in replies[1:]] in ([], [b'{"status": "ok"}'], [b'{"status":"ok"}'])


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("request_", "status"), REFUSED_EARLY)
def test_a_body_that_was_refused_unread_is_never_the_next_request(stage, request_, status, frame: Frame):
    with stage.connect() as wire:
        wire.send(b"".join(frame(stage, HIDDEN, request_)) + LAST)

        assert_nothing_was_smuggled(wire.replies(), status=status)


ANSWERED_FROM_THE_HEAD = [case for case in REFUSED_EARLY if case.values[1] in (401, 404, 405)]
PATIENCE_S = 0.2
"""How long the body is held back for an answer, where the hub gives one without it."""


@pytest.mark.parametrize("frame", [plain, in_chunks])
@pytest.mark.parametrize(("request_", "status"), ANSWERED_FROM_THE_HEAD)
def test_a_body_that_comes_after_its_refusal_is_never_the_next_request(stage, request_, status, frame: Frame):
    head, *rest = frame(stage, HIDDEN, request_)
    with stage.connect() as wire:
        wire.send(head)
        wire.wait(PATIENCE_S)
        wire.send(*rest, LAST)

        assert_nothing_was_smuggled(wire.replies(), status=status)


def test_a_request_behind_another_is_answered_for_itself(stage):
    with stage.connect() as wire:
        wire.send(HIDDEN + LAST)

        assert [(reply.status, b"smuggled" in reply.body) for reply in wire.replies()] == [(404, True), (200, False)]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"content-length: 4", b"transfer-encoding: chunked"], id="CL.TE"),
        pytest.param([b"transfer-encoding: chunked", b"content-length: 4"], id="TE.CL"),
        pytest.param([b"transfer-encoding: chunked", b"transfer-encoding: identity"], id="TE.TE"),
        pytest.param([b"transfer-encoding: identity", b"transfer-encoding: chunked"], id="TE.TE-reversed"),
        pytest.param([b"transfer-encoding: chunked, identity"], id="TE-list"),
        pytest.param([b"transfer-encoding: xchunked"], id="TE-unknown"),
        pytest.param([b"transfer-encoding: chunkedx"], id="TE-longer"),
        pytest.param([b"transfer-encoding: \x0bchunked"], id="TE-control"),
        pytest.param([b"transfer-encoding:\n chunked"], id="TE-folded-bare"),
        pytest.param([b"transfer-encoding:\r\n chunked"], id="TE-folded"),
        pytest.param([b"transfer-encoding : chunked"], id="TE-space"),
        pytest.param([b" transfer-encoding: chunked"], id="TE-indented"),
        pytest.param([b"x: 1\ntransfer-encoding: chunked"], id="TE-behind-a-bare-LF"),
        pytest.param([b"x: 1\rtransfer-encoding: chunked"], id="TE-behind-a-bare-CR"),
        pytest.param([b"content-length: 4", b"content-length: 5"], id="CL.CL"),
        pytest.param([b"content-length: 4", b"content-length: 4"], id="CL.CL-alike"),
        pytest.param([b"content-length: 4, 4"], id="CL-list"),
        pytest.param([b"content-length: +4"], id="CL-plus"),
        pytest.param([b"content-length: -4"], id="CL-minus"),
        pytest.param([b"content-length: 0x4"], id="CL-hex"),
        pytest.param([b"content-length: 4 4"], id="CL-two-numbers"),
        pytest.param([b"content-length: 4_4"], id="CL-underscore"),
        pytest.param([b"content-length: \xd9\xa4"], id="CL-other-digits"),
        pytest.param([b"content-length: 99999999999999999999999"], id="CL-overflow"),
        pytest.param([b"content-length: "], id="CL-empty"),
        pytest.param([b"content-length : 4"], id="CL-space"),
        pytest.param([b"content-length\x00: 4"], id="CL-NUL"),
    ],
)
def test_a_body_whose_end_can_be_read_in_two_ways_is_refused(stage, lines):
    with stage.connect() as wire:
        wire.send(stage.head(*lines, key="valid") + b"0\r\n\r\n" + HIDDEN + LAST)

        assert [reply.status for reply in wire.replies()] == [400]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"0x3\r\n{ }\r\n0\r\n\r\n", id="hex mark"),
        pytest.param(b"+3\r\n{ }\r\n0\r\n\r\n", id="plus"),
        pytest.param(b"-3\r\n{ }\r\n0\r\n\r\n", id="minus"),
        pytest.param(b" 3\r\n{ }\r\n0\r\n\r\n", id="space before"),
        pytest.param(b"3\n{ }\n0\n\n", id="bare LF"),
        pytest.param(b"3\r{ }\r\n0\r\n\r\n", id="bare CR"),
        pytest.param(b"3\r\n{ }0\r\n\r\n", id="no end of the chunk"),
        pytest.param(b"3\r\n{ }xx0\r\n\r\n", id="another end of the chunk"),
        pytest.param(b"2\r\n{ }\r\n0\r\n\r\n", id="shorter than it is"),
        pytest.param(b"10000000000000003\r\n{ }\r\n0\r\n\r\n", id="overflow"),
        pytest.param(b"3;\n{ }\r\n0\r\n\r\n", id="extension with a bare LF"),
        pytest.param(b'3;a="\n"\r\n{ }\r\n0\r\n\r\n', id="extension with a quoted LF"),
        pytest.param(b"\r\n3\r\n{ }\r\n0\r\n\r\n", id="an empty size"),
        pytest.param(b"3\r\n{ }\r\n0\r\nx: 1\n y\r\n\r\n", id="trailer with a bare LF"),
    ],
)
def test_chunks_that_can_be_read_in_two_ways_are_refused(stage, body):
    with stage.connect() as wire:
        wire.send(stage.head(b"transfer-encoding: chunked") + body + HIDDEN + LAST)

        assert [reply.status for reply in wire.replies()] == [400]


def test_what_a_chunk_says_of_itself_is_passed_over(stage):
    with stage.connect() as wire:
        body = b'3;a=b;c="d;e"\r\n{ }\r\n0;last\r\nx-api-key: none\r\n\r\n'
        wire.send(stage.head(b"transfer-encoding: chunked") + body + LAST)
        first, last = wire.replies()

        assert (first.status, b"`messages` is missing" in first.body, last.status) == (400, True, 200)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(b"POST /v1/chat/completions\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"POST /v1/chat/completions HTTP/2.0\r\nhost: a\r\n\r\n", id="HTTP/2"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2-preface"),
        pytest.param(b"POST /healthz HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="chunks in HTTP/1.0"),
        pytest.param(b"POST /v1/chat completions HTTP/1.1\r\nhost: a\r\n\r\n", id="a space in the path"),
        pytest.param(b"POST /v1/chat\x00 HTTP/1.1\r\nhost: a\r\n\r\n", id="NUL in the path"),
        pytest.param(b"POST /v1/chat\tx HTTP/1.1\r\nhost: a\r\n\r\n", id="tab in the path"),
        pytest.param(b"p0st /v1/chat/completions HTTP/1.1\r\nhost: a\r\n\r\n", id="a method of its own"),
        pytest.param(b"POST /healthz HTTP/1.1\r\nhost: a\r\nx\r\n\r\n", id="a header without a colon"),
        pytest.param(b"POST /healthz HTTP/1.1\r\n: x\r\n\r\n", id="a header without a name"),
        pytest.param(b"POST /healthz HTTP/1.1\r\nx: a\x01b\r\n\r\n", id="a control character"),
    ],
)
def test_what_is_no_request_is_refused(stage, request_):
    with stage.connect() as wire:
        wire.send(request_ + HIDDEN + LAST)
        replies = wire.replies()

        assert [reply.status for reply in replies] == [400]
        assert replies[0].headers["connection"] == "close"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param("http://evil.example/healthz", 200, id="absolute"),
        pytest.param("http://evil.example/v1/nothing", 404, id="absolute-unknown"),
        pytest.param("//evil.example/healthz", 404, id="two slashes"),
        pytest.param("/v1/../healthz", 404, id="dots"),
        pytest.param("/%68ealthz", 200, id="encoded"),
        pytest.param("/healthz%00", 404, id="NUL"),
        pytest.param("/healthz/", 404, id="a slash behind"),
        pytest.param("/healthz;x", 404, id="a parameter"),
        pytest.param("/admin%2f..%2fhealthz", 302, id="encoded slashes"),
    ],
)
def test_a_target_in_another_form_leads_to_no_other_place(stage, target, status):
    with stage.connect() as wire:
        wire.send(stage.head(key="none", path=target, method="GET") + LAST)
        first, *_ = wire.replies()

        assert first.status == status
        assert "evil.example" not in str(first.headers)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_nothing_is_tunnelled_or_echoed(stage, method):
    request = stage.head(b"cookie: canary=1", key="valid", path="/v1/chat/completions", method=method)
    with stage.connect() as wire:
        wire.send(request + HIDDEN + LAST)
        replies = wire.replies()

        assert replies[0].status in (400, 405)
        assert b"canary" not in b"".join(reply.body for reply in replies)


def test_one_caller_is_told_nothing_of_the_next_on_the_same_connection(stage):
    """A proxy sends many callers over one connection: what one was refused is not carried over."""
    with stage.connect() as wire:
        for key, status in (("revoked", 401), ("valid", 400), ("none", 401), ("valid", 400)):
            wire.send(stage.head(b"content-length: 2", key=key), b"{}")
            reply = wire.reply()
            if reply is None or reply.headers.get("connection") == "close":
                assert reply is None or reply.status == status
                return
            assert reply.status == status
