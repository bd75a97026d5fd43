"""Requests for chats as the handler gives them to the views, without a server."""

from __future__ import annotations

import io
from typing import Any

from llmhub.http.handler import Client, GatewayRequest
from llmhub.http.request_bodies import RequestBody
from llmhub.runtime.memory_budget import MemoryBudget

MAX_BYTES = 32 * 1024 * 1024
MEMORY = MemoryBudget(8 * MAX_BYTES)


def chat_request(key: str, body: bytes) -> Any:
    headers = [(b"x-api-key", key.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    request: Any = GatewayRequest(scope, io.BytesIO())
    request.client = Client(receive)
    request.unread_body = RequestBody(scope, receive, max_bytes=MAX_BYTES)
    return request
