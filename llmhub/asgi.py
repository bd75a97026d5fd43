"""The ASGI application: chats through the lean handler, everything else through Django's own."""

import asyncio
import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings

from chat.process import start_chats, stop_chats
from llmhub.body_cap import BodyCap
from llmhub.gateway_urls import PATHS, PREFIXES
from llmhub.handlers import GatewayHandler, Receive, Scope, Send
from llmhub.loop_lag import watch_lag
from llmhub.page_limit import PageLimit
from llmhub.probes import READINESS

django_pages = BodyCap(PageLimit(django_application), max_body_bytes=settings.MAX_BODY_BYTES)
gateway = GatewayHandler(settings.GATEWAY_URLCONF, max_body_bytes=settings.MAX_BODY_BYTES)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
    elif scope["path"].startswith(PREFIXES) or scope["path"] in PATHS:
        await gateway(scope, receive, send)
    else:
        await django_pages(scope, receive, send)


async def live(receive: Receive, send: Send) -> None:
    """Own what the process opens, from the server's start to its stop."""
    await receive()
    await start_chats()
    gc.collect()
    gc.freeze()  # what is loaded by now stays: collections need not look at it again
    lag = asyncio.create_task(watch_lag())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    READINESS.is_draining = True
    await gateway.finish()
    lag.cancel()
    await stop_chats()
    await send({"type": "lifespan.shutdown.complete"})
