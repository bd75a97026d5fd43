from __future__ import annotations

import io
import json

from django.core.handlers.asgi import ASGIRequest

from chat.api.openai import OpenAIDialect
from chat.api.serving import ChatServer
from chat.ledger.writer import LedgerWriter
from chat.pipeline import ChatPipeline
from llmhub.database import conninfo
from providers.manager import get_provider_manager


class ClosedRequest(ASGIRequest):
    """A request whose body nobody may look at."""

    body_fault = None

    @property
    def body(self):
        raise AssertionError


async def test_what_comes_from_nobody_known_is_not_looked_at(hub):
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"x-api-key", b"lh_no")]}
    server = ChatServer(ChatPipeline(get_provider_manager(), LedgerWriter(conninfo())))

    answer = await server.serve(ClosedRequest(scope, io.BytesIO()), OpenAIDialect())

    assert answer.status_code == 401
    assert "not known" in json.loads(answer.content)["error"]["message"]
