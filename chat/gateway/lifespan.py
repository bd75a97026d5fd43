"""What a web process needs for chats: opened when it starts, closed when everything begun is recorded."""

from __future__ import annotations

import asyncio
import logging
import time

from django.conf import settings
from django.db import OperationalError

from chat.gateway.recorder import Recorder
from chat.gateway.service import ChatServer
from chat.gateway.tracing import find_tracer
from chat.ledger.lanes import LedgerLanes
from llmhub.access.last_used_writer import UseWriter
from llmhub.runtime.database import conninfo
from llmhub.runtime.large_work import start_large_work, stop_large_work
from llmhub.runtime.live_snapshot import CONFIGURATION
from llmhub.runtime.memory_budget import MemoryBudget
from providers.manager import get_provider_manager

logger = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""How long to wait for a database that is away: a process that gave up would take those beside it along."""

RETRY_S = 0.5

_servers: list[ChatServer] = []
_use_writer = UseWriter()


async def start_chats(memory: MemoryBudget) -> None:
    """Connect the ledger, read the configuration, and be ready to chat on the running event loop."""
    manager = get_provider_manager()
    start_large_work()
    ledger = LedgerLanes(conninfo())
    await asyncio.gather(_read_configuration(), ledger.start())
    recorder = Recorder(ledger, tracer=find_tracer(settings.OTLP_ENDPOINT))
    _servers.append(ChatServer(manager, recorder, memory))
    _use_writer.start()


async def _read_configuration() -> None:
    """Errors: OperationalError."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            await asyncio.to_thread(CONFIGURATION.start)
        except OperationalError as error:
            if time.monotonic() > give_up_s:
                raise
            logger.warning("The configuration cannot be read (%s): trying again.", type(error).__name__)
            await asyncio.sleep(RETRY_S)
        else:
            return


async def stop_chats() -> None:
    """Record what is under way, then let go of every connection."""
    while _servers:
        server = _servers.pop()
        await server.stop()
        recorder = server.recorder
        await recorder.ledger.stop()
        stop_large_work()
        if recorder.tracer is not None:
            await asyncio.to_thread(recorder.tracer.stop)
        await server.manager.close_all()
        await asyncio.gather(asyncio.to_thread(CONFIGURATION.stop), asyncio.to_thread(_use_writer.stop))


def get_chat_server() -> ChatServer:
    """Return the running process's server.

    Errors: RuntimeError before `start_chats` and after `stop_chats`.
    """
    if not _servers:
        raise RuntimeError("This process does not serve chats: its lifespan has not started.")
    return _servers[-1]


def can_record() -> bool:
    """Whether this process could record a chat now."""
    return bool(_servers) and _servers[-1].recorder.ledger.is_up


def has_lost_the_ledger() -> bool:
    """Whether this process serves chats and could not record one now."""
    return bool(_servers) and not can_record()
