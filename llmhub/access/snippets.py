"""Code snippets that call this hub with an application's key."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.utils.text import slugify

from llmhub.access.models import ApiKey
from llmhub.access.principals import Scope

PLACEHOLDER = "YOUR_API_KEY"
QUESTION = "Say hello in one sentence."

OPENAI = """\
# pip install openai
from openai import OpenAI

client = OpenAI(base_url={base_url}, api_key={secret})
answer = client.chat.completions.create(
    model={model_name},
    messages=[{{"role": "user", "content": {question}}}],
)
print(answer.choices[0].message.content)
"""

LANGCHAIN = """\
# pip install langchain-openai
from langchain_openai import ChatOpenAI

llm = ChatOpenAI(base_url={base_url}, api_key={secret}, model={model_name})
print(llm.invoke({question}).content)
"""


@dataclass(frozen=True, slots=True)
class Snippet:
    title: str
    text: str = field(repr=False)
    is_chat: bool = False

    @property
    def slug(self) -> str:
        return slugify(self.title)


def snippets_for(key: ApiKey | None, *, hub_url: str, secret: str = PLACEHOLDER) -> list[Snippet]:
    """Return snippets for what a key's scopes allow; without a key, for chats.

    Shape: `hub_url` is the public URL, without a path.
    """
    scopes = set(key.scopes) if key else {Scope.CHAT.value}
    return list(_snippets(scopes, key.allowed_models if key else [], hub_url=hub_url.rstrip("/"), secret=secret))


def _snippets(scopes: set[str], model_names: list[str], *, hub_url: str, secret: str) -> Iterator[Snippet]:
    if Scope.CHAT in scopes:
        model_name = model_names[0] if model_names else ""
        yield Snippet("Chat with curl", _curl_chat(hub_url, secret, model_name), is_chat=True)
        values = {"base_url": f"{hub_url}/v1", "secret": secret, "model_name": model_name, "question": QUESTION}
        literals = {name: json.dumps(value) for name, value in values.items()}
        yield Snippet("OpenAI SDK for Python", OPENAI.format(**literals), is_chat=True)
        yield Snippet("LangChain for Python", LANGCHAIN.format(**literals), is_chat=True)
    if Scope.PROVIDERS_READ in scopes:
        yield Snippet("Providers with curl", _curl(f"{hub_url}/api/providers", secret))
    if {Scope.AUDIT_READ, Scope.AUDIT_READ_ALL} & scopes:
        yield Snippet("History with curl", _curl(f"{hub_url}/api/audit/chats", secret))


def _curl(url: str, secret: str) -> str:
    return f"curl {shlex.quote(url)} \\\n  -H {shlex.quote(f'Authorization: Bearer {secret}')}\n"


def _curl_chat(hub_url: str, secret: str, model_name: str) -> str:
    body = {"model": model_name, "messages": [{"role": "user", "content": QUESTION}]}
    lines = (
        _curl(f"{hub_url}/v1/chat/completions", secret).rstrip(),
        "-H 'Content-Type: application/json'",
        f"-d {shlex.quote(json.dumps(body))}",
    )
    return " \\\n  ".join(lines) + "\n"
