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
from llmhub.runtime.loop_lag import measure_lag
from llmhub.runtime.malloc import configure_malloc
from llmhub.runtime.memory_budget import MemoryBudget

PAGE_BODY_BYTES = 1024 * 1024
"""The largest body of a non-chat request: admin forms, and JSON of the REST API."""

PAGE_MEMORY_BYTES = 64 * PAGE_BODY_BYTES
"""The budget of such bodies, separate from chats: their senders need no key and may use many addresses."""

MAX_PARALLEL_ANSWERS = 12
"""The budget of page answers, in multiples of the largest body: pages of chats contain whole bodies."""

GC_THRESHOLDS = 20_000, 10, 20
"""Rare collections: a chat leaves hundreds of objects and hardly a cycle, and a collection blocks all chats."""

SWITCH_S = 0.001
"""How long a thread may hold the interpreter; Python's default of 5 ms would delay a chat several times."""


memory = MemoryBudget(settings.MEMORY_BUDGET_BYTES)
page_memory = MemoryBudget(PAGE_MEMORY_BYTES)
answer_memory = MemoryBudget(MAX_PARALLEL_ANSWERS * settings.MAX_BODY_BYTES)
django_pages = BodyLimit(
    PageLimit(AnswerLimit(release_connections_before_send(django_application), answer_memory)),
    page_memory,
    is_guess,
    max_body_bytes=PAGE_BODY_BYTES,
)
gateway = GatewayHandler(settings.GATEWAY_URLCONF, max_body_bytes=settings.MAX_BODY_BYTES)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await run_lifespan(receive, send)
    elif scope["path"].startswith(PREFIXES) or scope["path"] in PATHS:
        await gateway(scope, receive, send)
    else:
        await django_pages(scope, receive, send)


async def run_lifespan(receive: Receive, send: Send) -> None:
    """Run the lifespan: open the process's resources at startup, and close them at shutdown."""
    await receive()
    configure_malloc()
    sys.setswitchinterval(SWITCH_S)
    bound_connections()
    await start_chats(memory)
    if ROLE == "web":
        _ = get_resolver().url_patterns  # import now: the first page request would block all chats
    gc.collect()
    gc.freeze()  # loaded modules stay: collections skip them from now on
    gc.set_threshold(*GC_THRESHOLDS)
    lag = asyncio.create_task(measure_lag()) if ROLE != "bulk" else None
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
    """Raise the file limit, and bound connections accordingly."""
    CONNECTIONS.max_total = connections_for(raise_file_limit())
    by_address = min(settings.MAX_CONNECTIONS_PER_ADDRESS, CONNECTIONS.max_total * 3 // 4)
    CONNECTIONS.max_per_address = CONNECTIONS.max_total if settings.TRUSTED_PROXIES else by_address
