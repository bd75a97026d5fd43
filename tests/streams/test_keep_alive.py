"""Comments in silent streams: for proxies that take silence for death, and nobody else's business."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import openai
import pytest

from chat.models import Chat, ChatStatus
from tests import fakes
from tests.fakes import Answer, Signal
from tests.live import until
from tests.streams.callers import ASK, Caller, calling
from tests.streams.web import Web, running_web

PING = b": ping\n\n"
SILENCE_S = 0.1
WITHIN_S = 10.0
DIALECTS = [
    pytest.param("/v1/chat/completions", {}, b"[DONE]", id="openai"),
    pytest.param("/api/chat/multi", {"provider": "up", "model": "m"}, b"event: done", id="hub"),
]
SILENCES = [
    pytest.param(fakes.stall_before_headers(), id="before the head"),
    pytest.param(fakes.stall_after(1), id="before the first token"),
    pytest.param(fakes.stall_after(3), id="in mid-stream"),
]


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with running_web(tmp_path_factory.mktemp("logs"), STREAMS_SILENCE_S=str(SILENCE_S)) as process:
        yield process


@pytest.fixture
def caller(web, web_key) -> Iterator[Caller]:
    with calling(web.url, web_key) as [one]:
        yield one


def in_mid_frame(answer: Answer) -> Answer:
    frame = answer.pieces[2]
    assert isinstance(frame, bytes)
    return replace(answer, pieces=(*answer.pieces[:2], frame[:40], Signal.STALL, frame[40:], *answer.pieces[3:]))


def body_of(answer: bytes) -> bytes:
    """Take the body out of its chunks."""
    _, _, rest = answer.partition(b"\r\n\r\n")
    found = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found, rest = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found


@pytest.mark.parametrize(("path", "asked", "end"), DIALECTS)
@pytest.mark.parametrize("fault", [*SILENCES, pytest.param(in_mid_frame, id="in mid-frame")])
def test_comments_fill_a_silence_between_whole_frames_alone_and_end_with_it(caller, upstream, path, asked, end, fault):
    upstream.fail(fault)
    caller.ask(path=path, **asked)
    answer = caller.read_until(PING) + caller.read_until(PING)
    upstream.release()
    answer += caller.read_until(b"\r\n0\r\n\r\n")

    frames = body_of(answer).removesuffix(b"\n\n").split(b"\n\n")
    assert frames.count(b": ping") >= 2
    assert {frame.split(b":")[0] for frame in frames} <= {b"", b"data", b"event"}
    assert end in frames[-1]
    assert caller.is_silent(for_s=SILENCE_S * 2.5)


@pytest.mark.parametrize("fault", SILENCES)
def test_the_official_client_does_not_notice_comments(web, web_key, upstream, fault):
    upstream.fail(fault)
    listening = Listening()
    with (
        openai.OpenAI(base_url=f"{web.url}/v1", api_key=web_key, max_retries=0, http_client=listening.client) as sdk,
        ThreadPoolExecutor() as pool,
    ):
        text = pool.submit(sdk_text, sdk)
        until(lambda: listening.heard.count(PING) >= 2, within_s=WITHIN_S)
        upstream.release()

        assert text.result(WITHIN_S) == "Hello from the fake."


def sdk_text(sdk: openai.OpenAI) -> str:
    chunks = sdk.chat.completions.create(model="up/m", messages=ASK, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


class Listening(httpx.SyncByteStream):
    """The wire between a client and the hub, and what was heard on it."""

    def __init__(self) -> None:
        self.heard = b""
        self.client = httpx.Client(transport=httpx.MockTransport(self._send))
        self._wire = httpx.HTTPTransport()

    def _send(self, request: httpx.Request) -> httpx.Response:
        response = self._wire.handle_request(request)
        self._answer = response.stream
        return httpx.Response(response.status_code, headers=response.headers, stream=self)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._answer:
            self.heard += piece
            yield piece

    def close(self) -> None:
        self._answer.close()
        self._wire.close()


def test_what_fails_once_a_comment_was_sent_is_told_in_the_stream(caller, upstream):
    upstream.fail(stall_then_refuse)
    caller.ask()
    head = caller.read_until(PING)
    upstream.release()
    rest = caller.read_until(b"\r\n0\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'"error"' in rest
    assert b"[DONE]" not in rest
    until(lambda: Chat.objects.get().status == ChatStatus.FAILED)


def stall_then_refuse(answer: Answer) -> Answer:
    return replace(fakes.status(500)(answer), before_head=Signal.STALL)


def test_a_caller_who_leaves_in_a_silence_closes_the_provider_and_is_recorded(caller, upstream):
    upstream.fail(fakes.stall_after(3))
    caller.ask()
    caller.read_until(PING)

    caller.reset()

    assert upstream.hung_up.wait(1)
    until(lambda: Chat.objects.get().status == ChatStatus.CLIENT_DISCONNECTED)
