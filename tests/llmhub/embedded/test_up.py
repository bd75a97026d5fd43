"""The whole hub as a newcomer starts it: one life of two starts, and one that ends in a kill."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import psycopg
import pytest
from dotenv import dotenv_values

from llmhub.embedded.options import ROOT
from tests.llmhub.embedded.conftest import passable_folder
from tests.llmhub.embedded.processes import Up, bare_environment, family, running_up, start_up, survivors

pytestmark = pytest.mark.server

QUESTION = "Tell me of the canary."
CHAT = {"model": "local/smollm2", "max_tokens": 40, "messages": [{"role": "user", "content": QUESTION}]}


@dataclass(frozen=True)
class Life:
    """What was seen of the first start, and the second, which runs."""

    first: Up
    answer: dict[str, object]
    stream: str
    status: int
    left_over: list[psutil.Process]
    second: Up


@pytest.fixture(scope="module")
def life() -> Iterator[Life]:
    with passable_folder() as folder:
        with running_up(folder / "home") as first, first.client() as client:
            children = family(first.process.pid)
            answer = client.post("/v1/chat/completions", json=CHAT).json()
            stream = stop_amid_a_stream(first)
            status = first.process.wait(60)
        left_over = survivors(children, timeout_s=5)
        with running_up(folder / "home") as second:
            yield Life(first, answer, stream, status, left_over, second)


def stop_amid_a_stream(up: Up) -> str:
    with up.client() as client, client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
        chunks = answer.iter_raw()
        began = next(chunks)
        up.process.terminate()
        return (began + b"".join(chunks)).decode()


def test_a_first_chat_is_answered_by_the_local_model(life):
    assert life.answer["model"] == "smollm2"
    assert life.answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("process", ["web", "worker"])
def test_each_process_names_itself_in_the_lines_that_it_logs(life, process):
    lines = [line for line in (life.first.home / "logs" / f"{process}.log").read_text().splitlines() if line[:1] == "{"]

    assert lines
    assert {json.loads(line)["process"] for line in lines} - {"bulk"} == {process}


def test_a_stop_lets_a_stream_finish(life):
    assert life.stream.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"' in life.stream


def test_a_stop_leaves_no_process(life):
    assert life.status == 0
    assert life.left_over == []


def test_a_restart_keeps_the_record_and_the_credentials(life):
    variables = dotenv_values(life.second.home / "runtime.env")

    with psycopg.connect(variables["DATABASE_URL"]) as connection:
        chats = connection.execute("SELECT status FROM chat_chat").fetchall()

    assert chats == [("succeeded",), ("succeeded",)]
    with life.second.client() as client:
        assert client.get("/v1/models").status_code == 200


def test_who_serves_chats_does_not_hold_the_url_of_their_owner(life):
    environments = [process.environ() for process in family(life.second.process.pid)]
    hub = [env for env in environments if "DATABASE_URL" in env]

    assert len(hub) >= 3
    assert {env.get("DATABASE_OWNER_URL") for env in hub} == {""}


@pytest.mark.parametrize("secret", ["admin_password", "api_key"])
def test_password_and_key_are_shown_once_and_kept_for_their_owner(life, secret):
    assert life.first.credentials[secret] in life.first.greeting
    assert life.first.credentials[secret] not in life.second.greeting
    assert f"see {life.second.home / 'credentials.json'}" in life.second.greeting
    assert (life.second.home / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_each_step_of_the_start_says_how_long_it_took(life):
    for step in ("PostgreSQL 18", "Valkey", "Local model smollm2", "Database", "Web"):
        assert f"\n  {step}" in life.first.greeting
    assert life.first.greeting.count(" s\n") >= 6


def test_no_log_holds_a_secret_or_a_prompt(life):
    home = life.second.home
    secrets = [*dotenv_values(home / "runtime.env").values(), *life.second.credentials.values(), QUESTION]
    public = {life.second.credentials["url"], "admin", dotenv_values(home / "runtime.env")["LLMHUB_LOCAL_MODEL_URL"]}

    logs = {path.name: path.read_text() for path in (home / "logs").iterdir()}

    assert {"web.log", "worker.log", "beat.log", "prepare.log", "postgres.log", "valkey.log", "model.log"} <= set(logs)
    assert [name for name, text in logs.items() if any(secret in text for secret in set(secrets) - public)] == []


def test_other_commands_find_the_running_hub(life):
    environment = bare_environment() | {"LLMHUB_HOME": str(life.second.home)}

    result = subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "--check"], env=environment, check=False)

    assert result.returncode == 0


def test_the_heads_of_requests_are_bounded(life):
    with life.second.client() as client:
        assert client.get("/healthz", headers={"x-huge": "v" * 70_000}).status_code == 431


def test_a_second_start_on_the_same_home_is_refused(life):
    with start_up(life.second.home) as second:
        output, _ = second.communicate(timeout=20)

    assert second.returncode == 1
    assert f"is running already (process {life.second.process.pid})" in output


def test_a_taken_port_is_named_before_anything_is_started(life, home):
    port = life.second.credentials["url"].rpartition(":")[2]

    with start_up(home, PORT=port) as second:
        output, _ = second.communicate(timeout=20)

    assert second.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken" in output
    assert "set PORT" in output
    assert not (home / "postgres").exists()


def test_nothing_survives_a_kill_of_what_supervises(home):
    with running_up(home, LLMHUB_LOCAL_MODEL="0") as up:
        children = family(up.process.pid)

        up.process.kill()

        assert len(children) > 6
        assert survivors(children, timeout_s=15) == []
