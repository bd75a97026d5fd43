from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import orjson
import pytest

from llmhub.embedded import model
from llmhub.embedded.options import ROOT
from llmhub.embedded.ports import get_loopback_port
from llmhub.embedded.process import Guard, wait_until
from tests.stack import stopping

CHAT = {"model": model.MODEL_NAME, "max_tokens": 8, "messages": [{"role": "user", "content": "Say canary."}]}


@dataclass(frozen=True)
class Served:
    client: httpx.Client
    log: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port, log = get_loopback_port(), tmp_path_factory.mktemp("model") / "model.log"
    # llama.cpp closes connections that it said it would keep, so each request has its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    command = model.get_command(port=port, log=log, env={}, root=ROOT)
    with (
        Guard() as guard,
        stopping(guard, guard.start(command)) as child,
        httpx.Client(base_url=model.get_url(port), timeout=30, limits=limits) as client,
    ):
        wait_until(partial(model.is_ready, port), child, timeout_s=model.START_TIMEOUT_S)
        yield Served(client, log)


def test_it_serves_one_model_under_its_short_name(served):
    listed = served.client.get("/models").json()["data"]

    assert [entry["id"] for entry in listed] == ["smollm2"]
    assert listed[0]["meta"]["n_ctx"] >= 2048


def test_it_answers_a_chat_with_its_usage(served):
    answer = served.client.post("/chat/completions", json=CHAT).json()

    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["total_tokens"] > answer["usage"]["completion_tokens"] > 0


def test_it_streams_a_chat_and_ends_with_its_usage(served):
    options = {"stream": True, "stream_options": {"include_usage": True}}

    answer = served.client.post("/chat/completions", json=CHAT | options).text

    *frames, done = [frame.removeprefix("data: ") for frame in answer.strip().split("\n\n")]
    assert done == "[DONE]"
    assert len(frames) > 2
    assert orjson.loads(frames[-1])["usage"]["completion_tokens"] > 0


def test_what_was_asked_stays_between_caller_and_model(served):
    served.client.post("/chat/completions", json=CHAT)
    served.client.post("/chat/completions", content=b'{"messages": [{"content": "canary')

    assert "canary" not in served.log.read_text()
    assert served.client.get(str(served.client.base_url.join("/slots"))).status_code != 200
