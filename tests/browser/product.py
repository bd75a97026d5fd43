"""The whole product as `manage.py up` runs it, with a provider to talk to and people of each group."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from llmhub.embedded.options import ROOT
from tests.fakes import FakeProvider, status
from tests.llmhub.embedded.conftest import passable_folder
from tests.llmhub.embedded.processes import Up, bare_environment, running_up

ADMIN = "admin"
PASSWORD = "correct-horse-battery"
KEY = "sk-acme-4711-right"
GROUPS = {"opal": "Operator", "rita": "Reviewer", "nora": ""}
ADD_PEOPLE = f"""
from django.contrib.auth.models import Group, User
for name, group in {GROUPS!r}.items():
    user = User.objects.create_user(name, password={PASSWORD!r}, is_staff=True)
    user.groups.set(Group.objects.filter(name=group))
"""
SUM_UP = """
from chat.history.tasks import usage_rollup
usage_rollup()
"""
CONVERSATION = (
    "Which port does PostgreSQL listen on?",
    "And how do I see who is connected?",
    "Write that as one line of shell, please.",
)
ANSWER = "PostgreSQL listens on port 5432 unless `port` in postgresql.conf says otherwise."


@dataclass(frozen=True)
class Product:
    up: Up
    upstream: FakeProvider

    @property
    def url(self) -> str:
        return self.up.credentials["url"]

    def manage(self, *arguments: str) -> None:
        environment = bare_environment() | {"LLMHUB_HOME": str(self.up.home)}
        subprocess.run([sys.executable, ROOT / "manage.py", *arguments], env=environment, check=True)

    def chat(self, key: str, question: str, *, model_name: str = "acme/fake-large", **headers: str) -> httpx.Response:
        return httpx.post(
            f"{self.url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
            json={"model": model_name, "messages": [{"role": "user", "content": question}]},
            timeout=30,
        )


@contextmanager
def running_product() -> Iterator[Product]:
    """Yield a hub that nobody has used yet."""
    with (
        FakeProvider("custom", api_key=KEY, text=ANSWER) as upstream,
        passable_folder() as folder,
        running_up(folder / "home", LLMHUB_LOCAL_MODEL="0", LLMHUB_ADMIN_PASSWORD=PASSWORD) as up,
    ):
        yield Product(up, upstream)


def furnish(product: Product) -> None:
    """Give it the provider `acme`, a few chats, one of which failed, their sums, and people of each group."""
    acme = {"name": "acme", "provider_type": "custom", "base_url": product.upstream.url, "api_key": KEY}
    with product.up.client() as client:
        for path, body in (
            ("register", acme | {"default_model": "fake-large"}),
            ("acme/check", {}),
            ("acme/refresh", {}),
        ):
            client.post(f"/api/providers/{path}", json=body).raise_for_status()
    key = product.up.credentials["api_key"]
    for question in CONVERSATION:
        product.chat(key, question, x_llmhub_user="ann", x_llmhub_conversation="ports").raise_for_status()
    product.upstream.fail(status(400, "This model does not take pictures."))
    assert product.chat(key, "What is in this picture?", x_llmhub_user="bob").status_code == 400
    product.manage("shell", "--no-imports", "-v0", "-c", SUM_UP + ADD_PEOPLE)
