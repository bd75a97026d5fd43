"""The hub as its callers meet it: a real server on loopback, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import uvicorn
from django.db import connection, connections
from django.utils import timezone

from chat.gateway.lifespan import get_chat_server
from chat.history.models import Chat
from chat.ledger.models import ChatStatus
from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from llmhub.http.server import BoundedHttpProtocol
from providers.manager import get_provider_manager
from providers.models import ProviderConfig, ProviderModel
from tests.fakes import FakeProvider
from tests.live_configuration import Seen, seen_by_this_process

WITHIN_S = 20.0
"""Far longer than anything takes on a machine that has time for it."""


class LiveHub:
    """A running hub. What a test configures it takes back in `reset`."""

    def __init__(self) -> None:
        config = uvicorn.Config(
            "llmhub.asgi:application",
            port=0,
            log_config=None,
            lifespan="on",
            ws="none",
            http=BoundedHttpProtocol,
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="live hub", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self._server.started or not self._thread.is_alive())
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=10)
        self._pool = ThreadPoolExecutor(max_workers=4)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._pool.shutdown()
        self._server.should_exit = True
        self._thread.join(timeout=10)
        connections.close_all()

    def issue_key(self, *, application: str = "tester", scopes: tuple[str, ...] = tuple(Scope), **fields: Any) -> str:
        """Return a key that the running hub knows."""
        row, _ = Application.objects.get_or_create(name=application)
        key, secret = ApiKey.objects.issue(row, name="test", scopes=list(scopes), **fields)
        self.wait_for(lambda snapshot: key.digest in snapshot.keys)
        return secret

    def add_provider(
        self, fake: FakeProvider | None = None, *, name: str, models: tuple[str, ...] = (), **fields: Any
    ) -> ProviderConfig:
        """Register a provider, and wait until the running hub routes to it."""
        values = {"provider_type": "custom", "timeout": 5, **fields}
        if fake is not None:
            values.setdefault("base_url", fake.url)
        row, _ = get_provider_manager().register_provider(name, **values)
        now = timezone.now()
        for model in models:
            ProviderModel.objects.create(provider=row, name=model, first_seen_at=now, last_seen_at=now)
        self.wait_for(lambda s: name in s.providers and set(models) <= set(s.providers[name].models))
        return row

    def wait_for(self, condition: Callable[[Seen], bool]) -> None:
        """Wait until the running hub's configuration is as it should be."""
        until(lambda: condition(seen_by_this_process()))

    def last_chat(self) -> Chat:
        return Chat.objects.latest("started_at")

    def in_background(self, work: Callable[[], httpx.Response]) -> Future[httpx.Response]:
        return self._pool.submit(work)

    def ask_and_leave(self, path: str, body: dict[str, Any], key: str, *, once: threading.Event) -> None:
        """Post a body, and hang up without an answer once something has happened."""
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: hub\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n"
        url = urlsplit(self.url)
        with socket.create_connection((url.hostname, url.port), WITHIN_S) as connection:
            connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
            assert once.wait(WITHIN_S), "It did not happen in time."

    def headers(self, key: str, **more: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in more.items()}}

    def is_idle(self) -> bool:
        return not self._server.server_state.tasks

    def reset(self) -> None:
        """Bring back the configuration that migrations leave, and forget the chats, counted ones too."""
        until(self.is_idle)
        counted = get_chat_server().rejections.finish()
        asyncio.run_coroutine_threadsafe(counted, self._server.servers[0].get_loop()).result(WITHIN_S)
        ApiKey.objects.all().delete()
        Application.objects.all().delete()
        ProviderConfig.objects.all().delete()
        ProviderConfig.objects.create(
            name="ollama",
            provider_type="ollama",
            base_url="http://localhost:11434",
            default_model="llama3.2",
            is_default=True,
        )
        Chat.objects.all().delete()
        self.wait_for(lambda s: set(s.providers) == {"ollama"} and not s.keys)
        connection.close()


def until(condition: Callable[[], Any], *, within_s: float = WITHIN_S) -> None:
    """Wait for what another thread or process is about to do."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "It did not happen in time."
        time.sleep(0.005)


def get_chat(chat_id: str | UUID) -> Chat:
    return Chat.objects.get(pk=chat_id)


def closed_chat(chat_id: str | UUID) -> Chat:
    """Return a chat once its outcome is recorded."""
    until(lambda: Chat.objects.filter(pk=chat_id).exclude(status=ChatStatus.STARTED).exists())
    return get_chat(chat_id)
