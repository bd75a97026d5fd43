"""Callers by the dozen and the provider behind the hub, in a thread of their own; each keeps what it got."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar
from uuid import uuid4

import aiohttp

from tests.chaos.promises import Hit, Told
from tests.chaos.upstream import MODEL, Upstream, answer_to

PATIENCE = aiohttp.ClientTimeout(total=60, sock_connect=5)
PAUSE_S = 0.02
PAUSE_AFTER_TROUBLE_S = 0.2
PROVIDER = "echo"

T = TypeVar("T")


class Fire:
    """The load on one hub, and what it saw. Runs an event loop in a thread."""

    def __init__(self, *, url: str, key: str, seed: int) -> None:
        self.upstream = Upstream()
        self.told: list[Told] = []
        self.under_way = 0
        self.begun: set[str] = set()
        self._url = f"{url}/v1/chat/completions"
        self._headers = {"authorization": f"Bearer {key}"}
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="callers", daemon=True)
        self._burning: asyncio.Event | None = None
        self._callers: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], *, timeout_s: float = 90) -> T:
        """Do something on the loop of the load, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def do(self, work: Callable[[], Any]) -> None:
        """Do something at once on the loop of the load."""

        async def done() -> None:
            work()

        self.run(done())

    def light(self, callers: int) -> None:
        """Let so many callers chat without a pause, until `stop`."""
        self.run(self._light(callers))

    def stop(self) -> None:
        """Let each caller finish what it has begun."""
        self.run(self._stop())

    def ask(self, kind: str) -> str:
        """Begin one more chat, and return its marker."""
        marker = new_marker(kind)
        self.do(lambda: self._keep(self._loop.create_task(self._chat(marker))))
        return marker

    def ask_and_wait(self, kind: str = "whole") -> Told:
        return self.run(self._chat(new_marker(kind)))

    def since(self, mark: tuple[int, int]) -> tuple[tuple[Hit, ...], tuple[Told, ...]]:
        return tuple(self.upstream.hits[mark[0] :]), tuple(self.told[mark[1] :])

    def mark(self) -> tuple[int, int]:
        return len(self.upstream.hits), len(self.told)

    async def _start(self) -> None:
        await self.upstream.start()
        self._session = aiohttp.ClientSession(
            timeout=PATIENCE, headers=self._headers, connector=aiohttp.TCPConnector(limit=0)
        )

    async def _close(self) -> None:
        await self._session.close()
        self.upstream.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _light(self, callers: int) -> None:
        self._burning = asyncio.Event()
        for number in range(callers):
            self._keep(self._loop.create_task(self._call_until(self._burning, number)))

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._callers.add(task)
        task.add_done_callback(self._callers.discard)

    async def _stop(self) -> None:
        if self._burning is not None:
            self._burning.set()
        if self._callers:
            for task in await asyncio.gather(*self._callers, return_exceptions=True):
                if isinstance(task, BaseException):
                    raise task

    async def _call_until(self, end: asyncio.Event, number: int) -> None:
        kinds = ("whole", "brief", "brief") if number % 2 else ("whole", "brief", "left")
        while not end.is_set():
            kind = self._random.choice(kinds)
            if kind == "left":
                patience_s = self._random.uniform(0.0, 0.15)
                told = await self._chat(new_marker("brief"), leave_after_s=patience_s)
            else:
                told = await self._chat(new_marker(kind))
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S if told.status == 200 else PAUSE_AFTER_TROUBLE_S):
                    await end.wait()

    async def _chat(self, marker: str, *, leave_after_s: float | None = None) -> Told:
        asked_at_s = time.time()
        got: dict[str, Any] = {}
        self.under_way += 1
        try:
            with suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                async with asyncio.timeout(leave_after_s):
                    await self._receive(marker, got)
        finally:
            self.under_way -= 1
        told = Told(marker=marker, asked_at_s=asked_at_s, ended_at_s=time.time(), **got)
        self.told.append(told)
        return told

    async def _receive(self, marker: str, got: dict[str, Any]) -> None:
        body = {"model": f"{PROVIDER}/{MODEL}", "messages": [{"role": "user", "content": marker}]}
        is_stream = not marker.startswith("whole")
        async with self._session.post(self._url, json=body | {"stream": is_stream}) as answer:
            heard = {"status": answer.status, "chat_id": answer.headers.get("x-request-id")}
            if answer.status != 200:
                # Who leaves before the body is there was not told why it was refused, and counts as told nothing.
                got |= heard | {"error_code": json.loads(await answer.read())["error"]["code"]}
                return
            got |= heard
            if is_stream:
                await self._read_stream(marker, answer, got)
            else:
                text = json.loads(await answer.read())["choices"][0]["message"]["content"]
                got |= {"text": text, "is_whole": True}
                check(text, marker)

    async def _read_stream(self, marker: str, answer: aiohttp.ClientResponse, got: dict[str, Any]) -> None:
        got["text"] = ""
        async for line in answer.content:
            data = line.removeprefix(b"data: ").strip()
            if data == b"[DONE]":
                got["is_whole"] = True
                check(got["text"], marker)
            elif line.startswith(b"data: "):
                frame = json.loads(data)
                if "error" in frame:
                    got["error_code"] = frame["error"]["code"]
                for choice in frame.get("choices", ()):
                    got["text"] += choice["delta"].get("content") or ""
                self.begun.add(marker)


def new_marker(kind: str) -> str:
    return f"{kind}-{uuid4().hex[:12]}"


def check(text: str, marker: str) -> None:
    assert text == answer_to(marker), f"{marker} was answered {text!r} as if that were all."
