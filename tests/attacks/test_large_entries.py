"""Large bodies and answers in the record: whoever sends them, others' chats do not wait for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from llmhub.runtime.database import conninfo
from tests import fakes
from tests.live import closed_chat, until

LARGE = "x" * (8 * 1024 * 1024)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, 'llmhub ledger') "
    "AND datname = current_database() AND wait_event_type = 'Lock'"
)


@contextmanager
def held_lane(role: str) -> Iterator[psycopg.Connection[tuple[int]]]:
    """Keep the writers of a role from writing, as a large entry does while it is written."""
    with psycopg.connect(conninfo()) as holding, psycopg.connect(conninfo(), autocommit=True) as watching:
        held = holding.execute("SELECT FROM ledger_ledgerwriterrecord WHERE role = %s FOR UPDATE", (role,))
        assert held.rowcount > 0
        yield watching
        holding.rollback()


def ask(hub, key, content, **fields):
    body = {"model": "fake/m", "messages": [{"role": "user", "content": content}], **fields}
    return hub.client.post("/v1/chat/completions", json=body, headers=hub.headers(key), timeout=60)


@pytest.fixture
def key(hub, upstream):
    hub.add_provider(upstream, name="fake", default_model="m")
    return hub.issue_key()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_chats_go_on_while_a_large_request_is_being_recorded(hub, key, upstream, stream):
    with held_lane("web-large") as watching:
        large = hub.in_background(lambda: ask(hub, key, LARGE))
        until(lambda: watching.execute(WAITING).fetchone() == (1,))

        replies = [ask(hub, key, "Hello", stream=stream) for _ in range(20)]

        assert {reply.status_code for reply in replies} == {200}
        assert not large.done()
        assert len(upstream.chats) == 20
    assert large.result(60).status_code == 200


def test_chats_go_on_while_a_large_answer_is_being_recorded(hub, key, upstream):
    choice = {"index": 0, "message": {"role": "assistant", "content": LARGE}, "finish_reason": "stop"}
    upstream.fail(fakes.body(json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode()))
    with held_lane("web-large") as watching:
        large = hub.in_background(lambda: ask(hub, key, "Hello"))
        until(lambda: watching.execute(WAITING).fetchone() == (1,))

        replies = [ask(hub, key, "Hello") for _ in range(20)]

        assert {reply.status_code for reply in replies} == {200}
        assert not large.done()
    answer = large.result(60)
    assert answer.json()["choices"][0]["message"]["content"] == LARGE
    assert closed_chat(answer.headers["x-request-id"]).status == "succeeded"


def test_a_large_answer_whose_caller_leaves_is_recorded_all_the_same(hub, key, upstream):
    frame = (
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": LARGE[: 1 << 19]}}]}).encode() + b"\n\n"
    )
    upstream.fail(fakes.pieces(*[frame] * 4, fakes.Signal.STALL))
    body = {"model": "fake/m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}

    got = 0
    with hub.client.stream("POST", "/v1/chat/completions", json=body, headers=hub.headers(key)) as reply:
        for piece in reply.iter_raw():
            got += len(piece)
            if got > 4 * (1 << 19):
                break

    chat = closed_chat(reply.headers["x-request-id"])
    assert chat.status == "client_disconnected"
    assert chat.completion_tokens == 4 * (1 << 19) // 4
