"""Many streams, one after another, through one web process: it ends as it began."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import FakeProvider
from tests.live import LiveHub, until
from tests.streams.conftest import loading
from tests.streams.load import Load
from tests.streams.web import Held, Web, running_web

TWENTY_CHUNKS = " ".join(["word"] * 19)
AT_ONCE = 64


@pytest.fixture
def web(hub: LiveHub, tmp_path: Path):
    with running_web(tmp_path) as process:
        yield process


def streamed(load: Load) -> None:
    with loading(load) as outcome:
        ended = outcome()
    print(ended)
    assert (ended.whole, ended.broken) == (load.streams, 0)


def settled(web: Web, upstream: FakeProvider) -> Held:
    """Return what is held once the last callers are gone."""
    until(lambda: web.held(upstream.port) == web.held(upstream.port))
    return web.held(upstream.port)


@pytest.mark.soak
def test_ten_thousand_streams_leave_memory_tasks_and_sockets_as_they_were(hub, web):
    with FakeProvider("custom", text=TWENTY_CHUNKS) as upstream:
        hub.add_provider(upstream, name="up", models=("m",))
        key = hub.issue_key()
        web.learns_of(key, "up/m")
        load = Load(url=web.url, key=key, model="up/m", streams=1000, at_once=AT_ONCE)
        streamed(load)
        before, rss_bytes = settled(web, upstream), web.rss_bytes
        for _ in range(9):
            streamed(load)
            print(web.rss_bytes / 1e6, settled(web, upstream))
        after = settled(web, upstream)

    assert after == before
    assert web.rss_bytes == pytest.approx(rss_bytes, rel=0.05)
