"""Asking a manager, whole or streamed, and what came of it."""

import asyncio
from contextlib import aclosing

import pytest
from django.db import connection

from providers.types import ChatMessage, ChatRequest
from tests.providers.wire.assembling import assembled

HELLO = ChatRequest(messages=(ChatMessage(role="user", content="Hello"),))
KEY = "sk-canary-of-the-tests"


async def in_thread(work, *args, **kwargs):
    """Do what uses the ORM."""

    def do():
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(do)


def tried(journey):
    return [(attempt.provider, attempt.model_name, attempt.error_type) for attempt in journey.attempts]


async def collect(stream, got):
    async with aclosing(stream) as deltas:
        async for delta in deltas:
            got += [delta]


async def streamed(manager, **options):
    got = []
    await collect(manager.stream_chat(HELLO, **options), got)
    return got


def text_of(deltas):
    return assembled(deltas).content


async def whole_text(manager, **options):
    return (await manager.chat(HELLO, **options)).content


async def streamed_text(manager, **options):
    return text_of(await streamed(manager, **options))


BOTH_WAYS = pytest.mark.parametrize("ask", [whole_text, streamed_text])


async def cancelled(task, fake):
    await asyncio.to_thread(fake.stalled.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
