"""What a web process needs for chats: opened when it starts, closed when everything begun is recorded."""

from __future__ import annotations

import asyncio

from django.conf import settings

from chat.api.serving import ChatServer
from chat.ledger.writer import LedgerWriter
from chat.pipeline import ChatPipeline
from chat.tracing import find_tracer
from llmhub.access.use_writer import UseWriter
from llmhub.database import conninfo
from providers.manager import get_provider_manager

_servers: list[ChatServer] = []
_use_writer = UseWriter()


async def start_chats() -> None:
    """Connect the ledger, read the configuration, and be ready to chat on the running event loop."""
    manager = get_provider_manager()
    ledger = LedgerWriter(conninfo())
    await asyncio.gather(asyncio.to_thread(manager.registry.start), ledger.start())
    _servers.append(ChatServer(ChatPipeline(manager, ledger, tracer=find_tracer(settings.OTLP_ENDPOINT))))
    _use_writer.start()


async def stop_chats() -> None:
    """Record what is under way, then let go of every connection."""
    while _servers:
        pipeline = _servers.pop().pipeline
        await pipeline.ledger.stop()
        if pipeline.tracer is not None:
            await asyncio.to_thread(pipeline.tracer.stop)
        await pipeline.manager.close_all()
        await asyncio.gather(asyncio.to_thread(pipeline.manager.registry.stop), asyncio.to_thread(_use_writer.stop))


def get_chat_server() -> ChatServer:
    """Return the running process's server.

    Errors: RuntimeError before `start_chats` and after `stop_chats`.
    """
    if not _servers:
        raise RuntimeError("This process does not serve chats: its lifespan has not started.")
    return _servers[-1]


def can_record() -> bool:
    """Whether this process could record a chat now."""
    return bool(_servers) and _servers[-1].pipeline.ledger.is_up
