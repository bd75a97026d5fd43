from __future__ import annotations

import json
import shlex

import httpx
import pytest

from llmhub.access.models import ApiKey
from llmhub.access.snippets import Snippet, snippets_for

HUB = "http://hub.example:8000/"


def key(*scopes: str, **fields) -> ApiKey:
    return ApiKey(scopes=list(scopes), **fields)


def by_title(snippets: list[Snippet]) -> dict[str, str]:
    return {snippet.title: snippet.text for snippet in snippets}


def run_curl(text: str) -> httpx.Response:
    """Do what the shell would make of it."""
    _, url, *options = shlex.split(text.replace("\\\n", " "))
    given = list(zip(options[::2], options[1::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in given if option == "-H")
    body = next((value for option, value in given if option == "-d"), None)
    return httpx.request("POST" if body else "GET", url, headers=headers, content=body, timeout=10)


@pytest.mark.parametrize(
    ("scopes", "titles"),
    [
        (["chat"], {"Chat with curl", "OpenAI SDK for Python", "LangChain for Python"}),
        (["providers:read"], {"Providers with curl"}),
        (["audit:read", "providers:write"], {"History with curl"}),
        (["audit:read:all"], {"History with curl"}),
        (["providers:write"], set()),
    ],
)
def test_a_key_has_snippets_for_what_it_allows(scopes, titles):
    assert set(by_title(snippets_for(key(*scopes), hub_url=HUB))) == titles


def test_without_a_key_the_snippets_say_where_it_goes():
    snippets = snippets_for(None, hub_url=HUB)

    assert len(snippets) == 3
    assert all("YOUR_API_KEY" in s.text and "http://hub.example:8000/v1" in s.text for s in snippets)


def test_a_name_cannot_break_out_of_its_snippet():
    evil = "'; rm -rf ~ #\"\n"
    texts = by_title(snippets_for(key("chat", allowed_models=[evil]), hub_url=HUB))

    body = shlex.split(texts["Chat with curl"])[-1]
    for title in ("OpenAI SDK for Python", "LangChain for Python"):
        compile(texts[title], title, "exec")
    assert json.loads(body)["model"] == evil


def test_the_snippets_for_python_chat_as_pasted(hub, upstream, capsys):
    hub.add_provider(upstream, name="up", is_default=False)
    secret = hub.issue_key(allowed_models=["up/m"])

    texts = by_title(snippets_for(ApiKey.objects.get(), hub_url=hub.url, secret=secret))
    exec(texts["OpenAI SDK for Python"], {})

    assert capsys.readouterr().out.strip()
    assert hub.last_chat().model_name == "m"


@pytest.mark.parametrize("title", ["Chat with curl", "Providers with curl", "History with curl"])
def test_the_snippets_for_curl_answer_as_pasted(hub, upstream, title):
    hub.add_provider(upstream, name="up")
    secret = hub.issue_key(allowed_models=["up/m"])
    texts = by_title(snippets_for(ApiKey.objects.get(), hub_url=hub.url, secret=secret))

    assert run_curl(texts[title]).status_code == 200
