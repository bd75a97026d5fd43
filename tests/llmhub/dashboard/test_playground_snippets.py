from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from llmhub.dashboard.playground.shell_commands import curl_snippet, python_snippet

HOSTILE = [
    "It's `id` and $(id) and ${HOME} and $LLMHUB_KEY !!",
    '"; rm -rf /; echo "',
    "'; exit 7; '",
    "back\\slash \\' \\n and a\nnew\r\nline\tand tab",
    "'''\"\"\"{body}{url!r}%s %(x)s {{ }}",
    "\x1b[31mred\x1b[0m \u202egnp.exe\u2066 \u2028 \x7f \x00",
    "ünïcödé 🙂 中文 العربية",
    "@/etc/passwd",
    "-d --config /etc/passwd",
    "",
]


def body_with(prompt: str) -> dict[str, object]:
    return {"provider": "up", "messages": [{"role": "user", "content": prompt}], "temperature": 0.5, "stream": False}


def run(*command: str, key: str) -> str:
    environment = {"PATH": os.environ["PATH"], "LLMHUB_KEY": key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout


@pytest.fixture
def asked(hub, upstream):
    """Return a function that tells what the provider was asked last."""
    hub.add_provider(upstream, name="up", default_model="fake-large")
    return lambda: upstream.chats[-1].json


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_a_shell_asks_exactly_what_was_asked_whatever_the_prompt_holds(hub, asked):
    key = hub.issue_key()

    for prompt in HOSTILE[:-1]:
        answer = run("sh", "-c", curl_snippet(f"{hub.url}/api/chat/multi", body_with(prompt)), key=key)

        assert "Hello from the fake." in answer
        assert asked()["messages"] == [{"role": "user", "content": prompt}]
        assert asked()["temperature"] == 0.5


def test_python_asks_exactly_what_was_asked_whatever_the_prompt_holds(hub, asked):
    key = hub.issue_key()

    for prompt in HOSTILE[:-1]:
        answer = run(
            sys.executable, "-I", "-c", python_snippet(f"{hub.url}/api/chat/multi", body_with(prompt)), key=key
        )

        assert "Hello from the fake." in answer
        assert asked()["messages"] == [{"role": "user", "content": prompt}]


@pytest.mark.parametrize("prompt", HOSTILE)
@pytest.mark.parametrize("make", [curl_snippet, python_snippet])
def test_nothing_hides_in_a_snippet(make, prompt):
    snippet = make("http://hub/api/chat/multi", body_with(prompt))

    assert all(character.isprintable() or character == "\n" for character in snippet)


def test_a_stream_is_shown_as_it_comes():
    body = {"message": "Hi", "stream": True}

    assert curl_snippet("http://hub", body).startswith("curl -N ")
    assert not curl_snippet("http://hub", {"message": "Hi"}).startswith("curl -N ")
