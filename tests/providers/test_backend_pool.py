import asyncio
import threading

import pytest
from django.db import connection, connections

from providers.manager import ProviderManager, run
from tests import fakes
from tests.providers.asking import HELLO, KEY, in_thread, whole_text


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"priority": 9}, id="priority"),
        pytest.param({"default_model": "other"}, id="model"),
        pytest.param({"rate_limit": 5}, id="limit"),
        pytest.param({"health": "unhealthy"}, id="health"),
    ],
)
async def test_what_does_not_concern_the_connection_leaves_a_backend_as_it_is(two, manager, fields):
    backend = manager.get_provider("first")

    await in_thread(two.change, "first", **fields)

    assert manager.get_provider("first") is backend


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"base_url": "http://127.0.0.1:9/v2"}, id="address"),
        pytest.param({"api_key": KEY}, id="key"),
        pytest.param({"timeout": 9}, id="timeout"),
        pytest.param({"settings": {"strict_models": True}}, id="settings"),
        pytest.param({"provider_type": "ollama"}, id="type"),
    ],
)
async def test_a_backend_is_made_anew_when_its_connection_is_configured_otherwise(two, manager, fields):
    backend = manager.get_provider("first")
    other = manager.get_provider("second")

    await in_thread(two.change, "first", **fields)

    assert manager.get_provider("first") is not backend
    assert manager.get_provider("first") is manager.get_provider("first")
    assert manager.get_provider("second") is other


def test_who_waits_for_a_provider_holds_no_connection_to_the_database_meanwhile(config):
    connection.ensure_connection()
    held = connections[connection.alias]

    async def wait():
        return held.connection

    assert held.connection is not None
    assert run(wait) is None


def test_event_loops_do_not_share_connections_and_do_not_disturb_each_other(two, first):
    manager = ProviderManager(two.registry.providers)
    both_are_in = threading.Barrier(2, timeout=5)
    backends, answers = [], []

    async def work():
        backends.append(manager.get_provider("first"))
        await manager.chat(HELLO)
        both_are_in.wait()
        answers.append(await whole_text(manager))
        await manager.close_all()

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == ["The first answers."] * 2
    assert backends[0] is not backends[1]
    assert len(first.chats) == 4


async def test_a_manager_that_was_closed_connects_anew_when_it_is_asked(two, manager, first):
    await manager.chat(HELLO)

    await manager.close_all()
    await manager.close_all()

    assert await whole_text(manager) == "The first answers."
    assert first.connections == 2


async def test_one_connection_serves_many_chats_in_turn(two, manager, first):
    for _ in range(3):
        await manager.chat(HELLO)

    assert first.connections == 1


async def test_many_cancelled_chats_leave_room_for_the_next(two, manager, first):
    first.always = fakes.stall_before_headers()
    tasks = [asyncio.create_task(manager.chat(HELLO)) for _ in range(100)]
    await asyncio.to_thread(first.stalled.wait, 5)

    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    first.always = None
    assert await whole_text(manager) == "The first answers."
