"""Fields hidden in a chat's JSON: the provider is sent one reading of it, which is the one that was judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from django.utils import timezone

from chat.history.models import Chat
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat, until

PATHS = ("/v1/chat/completions", "/api/chat/multi")
HELLO = [{"role": "user", "content": "Hello"}]
PIECES = {
    "<bound>": '"model":"up/m"',
    "<other>": '"model":"up/dear"',
    "<ask>": '"messages":[{"role":"user","content":"Hello"}]',
}


@dataclass
class Stage:
    hub: LiveHub
    upstream: FakeProvider
    key: str

    def post(self, path: str, body: bytes | dict[str, Any], **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} | self.hub.headers(self.key, **headers)
        return self.hub.client.post(path, content=content, headers=sent)

    def post_and_see(self, path: str, body: bytes | dict[str, Any]) -> tuple[httpx.Response, list[Any]]:
        """Return the answer, and what the provider was asked meanwhile."""
        before = len(self.upstream.chats)
        answer = self.post(path, body)
        return answer, [chat.json for chat in self.upstream.chats[before:]]


@pytest.fixture(scope="module")
def stage(running_hub: LiveHub) -> Iterator[Stage]:
    """A hub whose key is for one model of a provider that has another too."""
    running_hub.reset()
    with FakeProvider("custom", api_key="sk-own-0123456789") as fake:
        running_hub.add_provider(fake, name="up", api_key=fake.api_key, models=("m", "dear"))
        yield Stage(running_hub, fake, running_hub.issue_key(allowed_models=["up/m"]))
    running_hub.reset()


def filled(body: str | bytes) -> bytes:
    found = body.encode() if isinstance(body, str) else body
    for mark, piece in PIECES.items():
        found = found.replace(mark.encode(), piece.encode())
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param("{<other>,<bound>,<ask>}", id="another model first"),
        pytest.param("{<bound>,<other>,<ask>}", id="another model last"),
        pytest.param('{<bound>,"mod\\u0065l":"up/dear",<ask>}', id="another model by its escape"),
        pytest.param('{"mod\\u0065l":"up/dear",<bound>,<ask>}', id="another model by its escape first"),
        pytest.param('{<bound>,"messages":[{"role":"user","content":"HIDDEN"}],<ask>}', id="messages first"),
        pytest.param('{<bound>,<ask>,"messages":[{"role":"user","content":"HIDDEN"}]}', id="messages last"),
        pytest.param('{<bound>,"messages":[{"role":"user","content":"HIDDEN","content":"Hello"}]}', id="content first"),
        pytest.param('{<bound>,"messages":[{"role":"user","content":"Hello","content":"HIDDEN"}]}', id="content last"),
        pytest.param('{<bound>,"stream":true,"stream":false,<ask>}', id="stream first"),
        pytest.param('{<bound>,"x":{"a":1,"a":2},"x":{"a":3},<ask>}', id="a field of its own"),
    ],
)
def test_of_two_fields_of_one_name_one_counts_for_judging_sending_and_recording(stage, path, body):
    answer, asked = stage.post_and_see(path, filled(body))

    if answer.status_code != 200:
        assert (answer.status_code in (400, 403), asked) == (True, [])
        return
    [sent] = asked
    assert sent["model"] == "m"
    assert ("HIDDEN" in json.dumps(sent)) == ("HIDDEN" in shown(stage, answer))


def shown(stage: Stage, answer: httpx.Response) -> str:
    """What the audit API shows of a chat as its conversation."""
    chat = closed_chat(answer.headers["x-request-id"])
    key = stage.hub.issue_key()
    found = stage.hub.client.get(f"/api/audit/chats/{chat.pk}", headers=stage.hub.headers(key))
    assert found.status_code == 200
    return json.dumps(found.json()["transcript"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xef\xbb\xbf{<bound>,<ask>}", id="a byte order mark"),
        pytest.param(filled("{<bound>,<ask>}").decode().encode("utf-16"), id="UTF-16"),
        pytest.param(b"{<bound>,<ask>}{}", id="two objects"),
        pytest.param(b"{<bound>,<ask>}\x00", id="NUL behind it"),
        pytest.param(b"{<bound>,<ask>,}", id="a comma behind it"),
        pytest.param(b"{<bound>,<ask>} // {", id="a comment"),
        pytest.param(b"/**/{<bound>,<ask>}", id="a comment before"),
        pytest.param(b"{<bound>,<ask>,'x':1}", id="other quotes"),
        pytest.param(b"{<bound>,<ask>,x:1}", id="no quotes"),
        pytest.param(b'{<bound>,<ask>,"x":NaN}', id="NaN"),
        pytest.param(b'{<bound>,<ask>,"x":Infinity}', id="Infinity"),
        pytest.param(b'{<bound>,<ask>,"x":01}', id="a zero before a number"),
        pytest.param(b'{<bound>,<ask>,"x":"\xc0\xaf"}', id="a long form of UTF-8"),
        pytest.param(b'{<bound>,<ask>,"x":"\\ud800"}', id="half a character"),
        pytest.param(b'{<bound>,<ask>,"x":"\x01"}', id="a control character"),
        pytest.param(b'{<bound>,<ask>,"x":"\n"}', id="a line end in a text"),
        pytest.param(b")]}',\n{<bound>,<ask>}", id="a guard against scripts"),
        pytest.param(b"[{<bound>,<ask>}]", id="a list"),
    ],
)
def test_what_others_read_as_json_and_some_do_not_is_refused(stage, path, body):
    answer, asked = stage.post_and_see(path, filled(body))

    assert (answer.status_code, answer.json()["error"]["code"], asked) == (400, "invalid_json", [])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_page_of_another_site_could_send_is_refused(stage, path, kind):
    answer = stage.post(path, {"model": "up/m", "messages": HELLO}, content_type=kind)

    assert answer.status_code == 415


SPELLINGS = (
    "api_base", "API_BASE", "Api_Base", "apiBase", "api-base", "apibase", "base_url", "baseUrl", "baseURL", "base-url",
    "api_key", "apiKey", "APIKEY", "api-key", "apiVersion", "api-version", "apiType", "customLlmProvider", "Endpoint",
    "PROXY", "extraHeaders", "extra-headers", "Extra_Headers",
)  # fmt: skip
"""How libraries of several languages write what chooses an address or a key."""


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_address_or_a_key_is_refused_however_it_is_written(stage, name):
    path = PATHS[len(name) % 2]
    ask = {"model": "up/m", "messages": HELLO}
    escaped = json.dumps({**ask, "NAME": "http://127.0.0.1:9"}).replace("NAME", f"\\u{ord(name[0]):04x}{name[1:]}")
    bodies = [json.dumps({**ask, name: "http://127.0.0.1:9"}), escaped]
    bodies += [json.dumps({**ask, holder: {"x": [{name: "x"}]}}) for holder in HOLDERS]

    answers = [stage.post_and_see(path, body.encode()) for body in bodies]

    told = [(answer.status_code, answer.json()["error"]["code"], asked) for answer, asked in answers]
    assert told == [(400, "forbidden_parameter", [])] * len(bodies)


HOLDERS = (
    "extra_body", "extraBody", "extra_query", "litellm_params", "model_kwargs", "provider_options", "providerOptions",
    "user_config", "model_list", "fallbacks",
)  # fmt: skip
"""Where gateways and libraries look for more parameters."""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"models": ["dear"]}, id="OpenRouter's list"),
        pytest.param({"fallbacks": ["dear"]}, id="LiteLLM's next ones"),
        pytest.param({"context_window_fallbacks": [{"m": ["dear"]}]}, id="LiteLLM's next ones by length"),
        pytest.param({"route": "fallback", "models": ["dear"]}, id="OpenRouter's route"),
        pytest.param({"extra_body": {"models": ["dear"]}}, id="in an extension"),
        pytest.param({"extra_body": {"model": "dear"}}, id="the model in an extension"),
    ],
)
def test_a_key_for_some_models_names_no_others_to_a_provider_that_routes_by_itself(stage, path, more):
    answer, asked = stage.post_and_see(path, {"model": "up/m", "messages": HELLO, **more})

    assert (answer.status_code, answer.json()["error"]["code"], asked) == (400, "forbidden_parameter", [])


@pytest.mark.parametrize(
    "model",
    [
        "up/dear",
        "dear",
        "up//m",
        "up/m/",
        "UP/m",
        "up/M",
        "up/m ",
        " up/m",
        "up/m\x00",
        "up\\m",
        "up/./m",
        "up/m#",
        "*",
    ],
)
def test_a_key_for_some_models_gets_no_other_by_another_spelling(stage, model):
    answer, asked = stage.post_and_see("/v1/chat/completions", {"model": model, "messages": HELLO})

    assert answer.status_code in (400, 403, 404)
    assert asked == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["__proto__", "constructor", "prototype", "__class__", "__init__", "__globals__"])
def test_names_that_mean_something_to_a_language_mean_nothing_here(stage, path, name):
    body = {"model": "up/m", "messages": [{**HELLO[0], name: {"x": 1}}], name: {"model": "dear", "stream": True}}

    answer, [sent] = stage.post_and_see(path, body)

    assert (answer.status_code, sent["model"], sent.get("stream", False)) == (200, "m", False)
    assert sent[name] == body[name]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"x_llmhub_as_key": "1"}, id="as another key"),
        pytest.param({"x_llmhub_provider": "other"}, id="a provider"),
        pytest.param({"x_http_method_override": "GET"}, id="another method"),
        pytest.param({"x_forwarded_host": "evil.example", "x_forwarded_for": "10.0.0.1"}, id="another place"),
        pytest.param({"x_original_url": "/healthz", "x_rewrite_url": "/healthz"}, id="another path"),
        pytest.param({"cookie": "sessionid=x"}, id="a session beside the key"),
    ],
)
def test_no_header_changes_whose_chat_it_is_or_where_it_goes(stage, path, headers):
    answer = stage.post(path, {"model": "up/m", "messages": HELLO}, **headers)

    chat = closed_chat(answer.headers["x-request-id"])
    assert answer.status_code == 200
    assert (chat.application, chat.actor, chat.provider, chat.address) == ("tester", "", "up", "127.0.0.1")


def test_the_key_in_the_header_that_wins_is_the_key_that_is_recorded(stage):
    other = stage.hub.issue_key(application="other")
    before = timezone.now()

    answer = stage.post("/v1/chat/completions", {"model": "up/m", "messages": HELLO}, x_api_key=other)

    until(lambda: Chat.objects.filter(started_at__gte=before).exists())
    assert closed_chat(answer.headers["x-request-id"]).application == "other"
