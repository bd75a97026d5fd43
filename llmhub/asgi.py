"""The ASGI application: chats through the lean handler, everything else through Django's own."""

import asyncio
import gc
import os
import sys

from llmhub.runtime.process_role import process_role
from llmhub.runtime.shared_metrics import share_metrics

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "llmhub.settings")
ROLE = process_role(sys.argv)
metrics_folder = share_metrics(ROLE)

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from django.conf import settings
from django.urls import get_resolver

from chat.gateway.lifespan import start_chats, stop_chats
from llmhub.access.live_keys import is_guess
from llmhub.gateway_urls import PATHS, PREFIXES
from llmhub.http.body_limit import AnswerLimit, BodyLimit
from llmhub.http.bulk_process import BulkProcess
from llmhub.http.connection_bounds import connections_for, raise_file_limit
from llmhub.http.handler import GatewayHandler
from llmhub.http.page_limit import PageLimit, release_connections_before_send
from llmhub.http.probes import READINESS
from llmhub.http.request_bodies import Receive, Scope, Send
from llmhub.http.server import CONNECTIONS, BoundedHttpProtocol
from llmhub.http.stop_notice import StopNotice
from llmhub.runtime.loop_lag import watch_lag
from llmhub.runtime.malloc import give_memory_back
from llmhub.runtime.memory_budget import MemoryBudget

PAGE_BODY_BYTES = 1024 * 1024
"""The largest body of what is no chat: forms of the admin, and JSON that configures."""

PAGE_MEMORY_BYTES = 64 * PAGE_BODY_BYTES
"""What such bodies take together. It is theirs alone: who sends them need have no key, and may have many addresses."""

ANSWERS_TOGETHER = 12
"""How many times the largest body the answers of pages may take together: those who look at chats read them out."""

GC_THRESHOLDS = 20_000, 10, 20
"""Seldom: a chat leaves hundreds of objects and hardly a cycle, and a collection holds up all of them."""

SWITCH_S = 0.001
"""How long a thread may keep the interpreter from the event loop; Python's own 5 ms come several times in a chat."""


memory = MemoryBudget(settings.MEMORY_BUDGET_BYTES)
page_memory = MemoryBudget(PAGE_MEMORY_BYTES)
answer_memory = MemoryBudget(ANSWERS_TOGETHER * settings.MAX_BODY_BYTES)
django_pages = BodyLimit(
    PageLimit(AnswerLimit(release_connections_before_send(django_application), answer_memory)),
    page_memory,
    is_guess,
    max_body_bytes=PAGE_BODY_BYTES,
)
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
    give_memory_back()
    sys.setswitchinterval(SWITCH_S)
    bound_connections()
    await start_chats(memory)
    if ROLE == "web":
        _ = get_resolver().url_patterns  # else the first look at a page would import it, while all chats wait
    gc.collect()
    gc.freeze()  # what is loaded by now stays: collections need not look at it again
    gc.set_threshold(*GC_THRESHOLDS)
    lag = asyncio.create_task(watch_lag()) if ROLE != "bulk" else None
    bulk = BulkProcess()
    if ROLE == "web":
        BoundedHttpProtocol.other_process = bulk
        bulk.warm_up()
    StopNotice(settings.STOP_NOTICE_S, READINESS.begin_to_drain, bulk.begin_to_stop).install()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    READINESS.begin_to_drain()
    await asyncio.gather(gateway.finish(), bulk.stop())
    if lag is not None:
        lag.cancel()
    await stop_chats()
    await send({"type": "lifespan.shutdown.complete"})


def bound_connections() -> None:
    """Let the process have as many open files as it may, and no more connections than fit in."""
    CONNECTIONS.max_total = connections_for(raise_file_limit())
    by_address = min(settings.MAX_CONNECTIONS_PER_ADDRESS, CONNECTIONS.max_total * 3 // 4)
    CONNECTIONS.max_per_address = CONNECTIONS.max_total if settings.TRUSTED_PROXIES else by_address
