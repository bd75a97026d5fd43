"""The hub's application as a test runs it in a process of its own: it also tells how many tasks are alive."""

from __future__ import annotations

import asyncio
import os

from django.http import JsonResponse

from llmhub import asgi
from llmhub.gateway_urls import PREFIXES
from llmhub.http import bulk_process
from llmhub.http.handler import GatewayHandler, send_whole
from llmhub.http.request_bodies import Receive, Scope, Send
from llmhub.http.server import BoundedHttpProtocol

from django.conf import settings  # isort: skip  (llmhub.asgi sets Django up)

from chat.gateway.lifespan import get_chat_server  # isort: skip

HAS_BULK = os.environ.get("STREAMS_BULK") == "1"
UNREAD_S = float(os.environ.get("STREAMS_UNREAD_S", "60"))
SILENCE_S = float(os.environ.get("STREAMS_SILENCE_S", "15"))
gateway = GatewayHandler(settings.GATEWAY_URLCONF, max_body_bytes=settings.MAX_BODY_BYTES, ping_s=SILENCE_S)


class WatchedProtocol(BoundedHttpProtocol):
    unread_s = UNREAD_S
    if not HAS_BULK:  # so that one process, which is watched, has all bodies
        other_process = None
        bulk_process.WARM_UP_S = 3600.0


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await asgi.application(scope, receive, send)
    elif scope["path"] == "/tasks":
        await send_whole(JsonResponse({"tasks": len(asyncio.all_tasks())}), send)
    elif scope["path"].startswith(PREFIXES):
        get_chat_server().early_s = SILENCE_S
        await gateway(scope, receive, send)
    else:
        await asgi.application(scope, receive, send)
