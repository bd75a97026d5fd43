"""Streams by the thousand through one web process: it ends as it began."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub, until
from tests.streams.callers import calling
from tests.streams.conftest import loading
from tests.streams.load import Load
from tests.streams.web import Web, running_web

pytestmark = pytest.mark.soak

MIB = 1024 * 1024
TWENTY_CHUNKS = " ".join(["word"] * 18)
"""With the role and the end."""
IDLE_S = 60.0
"""How long connections to a provider may be kept for the next chat."""


@pytest.fixture
def web(hub: LiveHub, tmp_path: Path) -> Iterator[Web]:
    with running_web(tmp_path) as process:
        yield process


def test_ten_thousand_streams_leave_memory_tasks_and_sockets_as_they_were(hub, web):
    with FakeProvider("custom", text=TWENTY_CHUNKS) as upstream:
        hub.add_provider(upstream, name="up", models=("m",))
        key = hub.issue_key()
        web.learns_of(key, "up/m")
        at_first, rss_mib, whole = web.held(upstream.port), [], 0
        for streams in (1000, 9000):
            load = Load(url=web.url, key=key, model="up/m", streams=streams, at_once=64)
            with loading(load) as outcome:
                whole += outcome().whole
            rss_mib.append(round(web.rss_bytes / MIB, 1))
        until(lambda: web.held(upstream.port) == at_first, within_s=IDLE_S)
    print(f"Resident after 1,000 and after 10,000 streams: {rss_mib} MiB.")

    assert whole == 10_000
    assert rss_mib[1] == pytest.approx(rss_mib[0], rel=0.05)


def test_five_thousand_callers_who_vanish_leave_memory_tasks_and_sockets_as_they_were(web, web_key, upstream):
    upstream.always = fakes.stall_after(3)
    at_first, rss_mib = web.held(upstream.port), []
    for _ in range(10):
        with calling(web.url, web_key, count=500) as callers:
            for caller in callers:
                caller.ask()
            for caller in callers:
                caller.read_until(b"Hello")
        until(lambda: web.held(upstream.port) == at_first, within_s=IDLE_S)
        rss_mib.append(round(web.rss_bytes / MIB, 1))
    print(f"Resident after each 500 callers who vanished: {rss_mib} MiB.")

    assert rss_mib[-1] == pytest.approx(rss_mib[1], rel=0.05)
