from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from llmhub.embedded import model
from llmhub.embedded.child_processes import Child, Guard, wait_until
from llmhub.embedded.options import ROOT
from llmhub.embedded.ports import get_loopback_port
from tests.stack import stopping

pytestmark = pytest.mark.server

KEY = "key-of-the-local-model-4711"
CHAT = {"model": model.MODEL_NAME, "max_tokens": 8, "messages": [{"role": "user", "content": "Say canary."}]}


@dataclass(frozen=True)
class Served:
    client: httpx.Client
    log: Path
    child: Child


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("model") / "model.log"
    server = model.new_local_model(port=get_loopback_port(), key=KEY, log=log)
    # llama.cpp closes connections that it said it would keep, so each request has its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    command = model.get_command(server, env={}, root=ROOT)
    headers = {"Authorization": f"Bearer {KEY}"}
    with (
        Guard() as guard,
        stopping(guard, guard.start(command)) as child,
        httpx.Client(base_url=server.url, timeout=30, limits=limits, headers=headers) as client,
    ):
        wait_until(partial(model.is_ready, server), child, timeout_s=model.START_TIMEOUT_S)
        yield Served(client, log, child)


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


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer another"}, {"x-api-key": "another"}])
@pytest.mark.parametrize("path", ["/chat/completions", "/completions", "/embeddings", "/responses", "/messages"])
def test_who_has_no_key_is_refused(served, headers, path):
    answer = httpx.post(f"{str(served.client.base_url).rstrip('/')}{path}", json=CHAT, headers=headers, timeout=30)

    assert answer.status_code == 401


def test_its_key_shows_nowhere(served):
    process = psutil.Process(served.child.process.pid)

    shown = [*process.cmdline(), *process.environ().values(), served.log.read_text(), repr(served.child)]

    assert not any(KEY in text for text in shown)


def test_a_stranger_on_its_port_is_not_taken_for_it(served, tmp_path):
    ours = model.new_local_model(port=served.client.base_url.port, key=KEY, log=tmp_path / "log")

    assert not model.is_ready(ours)


def test_what_was_asked_stays_between_caller_and_model(served):
    served.client.post("/chat/completions", json=CHAT)
    served.client.post("/chat/completions", content=b'{"messages": [{"content": "canary')

    assert "canary" not in served.log.read_text()
    assert served.client.get(str(served.client.base_url.join("/slots"))).status_code != 200
