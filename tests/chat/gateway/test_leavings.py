"""A chat leaves nothing that only a collection could free: these are rare, and a body can be large."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from llmhub.embedded.options import ROOT
from llmhub.runtime.large_work import HUGE_BYTES, LARGE_BYTES
from tests.fakes import FakeProvider, status
from tests.live import LiveHub, until

PATH = "/v1/chat/completions"
OWN = tuple(str(ROOT / room) for room in ("chat", "llmhub", "providers"))


def body(*, size: int = 1, **fields: Any) -> bytes:
    return json.dumps({"model": "up/m", "messages": [{"role": "user", "content": "x" * size}], **fields}).encode()


@contextmanager
def left_behind() -> Iterator[set[str]]:
    """Yield a set that holds afterwards which functions' frames were in memory though nothing used them."""
    found: set[str] = set()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        frames = (kept for kept in gc.garbage if isinstance(kept, FrameType))
        found |= {
            f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"
            for frame in frames
            if frame.f_code.co_filename.startswith(OWN)
        }
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("failure", [None, 400, 500], ids=lambda code: f"provider {code or 'answers'}")
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(body(), id="small"),
        pytest.param(body(stream=True), id="stream"),
        pytest.param(body(size=2 * LARGE_BYTES), id="large"),
        pytest.param(body(size=2 * LARGE_BYTES)[:-3], id="no JSON"),
        pytest.param(body(size=HUGE_BYTES, temperature="hot"), id="huge and wrong"),
    ],
)
def test_no_frame_of_a_chat_waits_for_a_collection(hub: LiveHub, upstream: FakeProvider, asked, failure):
    hub.add_provider(upstream, name="up", models=("m",))
    headers = {"authorization": f"Bearer {hub.issue_key(scopes=('chat',))}", "content-type": "application/json"}
    hub.client.post(PATH, content=asked, headers=headers)  # what is done once is done

    with left_behind() as found:
        if failure:
            upstream.fail(status(failure, "No."))
        hub.client.post(PATH, content=asked, headers=headers)
        until(hub.is_idle)
        hub.client.get("/healthz")  # by then, whatever was cancelled at the end has ended

    assert found == set()
