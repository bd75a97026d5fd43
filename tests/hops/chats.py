"""The chats that are counted: from a caller's socket through the hub to an upstream's, with their record in PostgreSQL.

Counted is what the hub's threads do from the first byte of a request, on a connection that is open, until nothing is
left to do for it. Other chats came before, and each is repeated: the run with the fewest calls stands, so that what
happens now and then (a heartbeat, a request that is read in two pieces) does not count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.fakes import Answer, FakeProvider
from tests.hops.counting import CallCounter, Calls
from tests.live import LiveHub, until

CHUNKS = 100
RUNS = 5
WARM_UP_CHUNKS = 20

SETTLE_S = 0.05
"""How long the hub is left alone before a count begins, and before it ends: it cleans up after an answer."""

QUIET_S = 0.002
"""How long after a chunk has reached the caller the next one is sent: the hub waits for it by then."""

UNANSWERED_S = 0.25
"""How long one waits for what a piece brings the caller: some bring nothing, and the last is held back."""

BODY = {
    "model": "up/m",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of France?"},
    ],
    "temperature": 0.7,
    "max_tokens": 256,
}


class HopsError(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """What was called for a whole chat, for a stream, and for a stream of `CHUNKS` more chunks."""

    whole: Calls
    stream: Calls
    longer_stream: Calls

    @property
    def of_more_chunks(self) -> Calls:
        """The calls that `CHUNKS` more chunks add."""
        return self.longer_stream - self.stream


class Paced:
    """Has an upstream send a piece only once the caller has read what the one before it brought."""

    def __init__(self) -> None:
        self.is_read = threading.Event()

    def __call__(self, answer: Answer) -> Answer:
        """Send each piece by a write of its own; the end comes with the last."""
        if not answer.is_chunked:
            return answer
        first, *more = (b"%x\r\n%b\r\n" % (len(body), body) for body in answer.bodies())
        more[-1] += b"0\r\n\r\n"
        pieces = _PacedPieces((answer.head() + first, *more))
        pieces.is_read = self.is_read
        return replace(answer, pieces=pieces, is_chunked=False, is_raw=True)


class _PacedPieces(tuple[bytes, ...]):
    is_read: threading.Event

    def __iter__(self) -> Iterator[bytes]:
        for piece in super().__iter__():
            self.is_read.clear()
            yield piece
            self.is_read.wait(UNANSWERED_S)  # nothing else is to be done on the upstream's thread
            time.sleep(QUIET_S)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks one hub, over one connection, and has it count."""

    hub: LiveHub
    upstream: FakeProvider
    paced: Paced
    key: str
    counter: CallCounter

    def measure(self) -> Hops:
        """Errors: HopsError if an answer was not streamed chunk by chunk, or is not in the record."""
        self._fewest(self._ask_whole)
        self._ask_stream(WARM_UP_CHUNKS)
        hops = Hops(
            whole=self._fewest(self._ask_whole),
            stream=self._fewest(lambda: self._ask_stream(CHUNKS)),
            longer_stream=self._fewest(lambda: self._ask_stream(2 * CHUNKS)),
        )
        if (status := self.hub.last_chat().status) != "succeeded":
            message = f"The record says of the last chat that it is {status}."
            raise HopsError(message)
        return hops

    def _fewest(self, ask: Callable[[], None]) -> Calls:
        return min((self._count(ask) for _ in range(RUNS)), key=Calls.total)

    def _count(self, ask: Callable[[], None]) -> Calls:
        self._settle()
        with self.counter.counting() as calls:
            ask()
            self._settle()
        return calls

    def _settle(self) -> None:
        until(self.hub.is_idle)
        time.sleep(SETTLE_S)

    def _ask_whole(self) -> None:
        self.hub.client.post(**self._request(BODY)).raise_for_status()

    def _ask_stream(self, chunks: int) -> None:
        self.upstream.script = replace(self.upstream.script, text=" ".join(["word"] * chunks))
        pieces = 0
        with self.hub.client.stream("POST", **self._request(BODY | {"stream": True})) as response:
            response.raise_for_status()
            for _ in response.iter_raw():
                pieces += 1
                self.paced.is_read.set()
        if pieces < chunks:
            message = f"A stream of {chunks} chunks came in {pieces} pieces: the machine is too busy to count."
            raise HopsError(message)

    def _request(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"url": "/v1/chat/completions", "json": body, "headers": self.hub.headers(self.key)}


def measure(counter: CallCounter) -> Hops:
    """Count in a hub of its own, on the database that Django is connected to."""
    with FakeProvider("custom") as upstream, counter.watching_new_threads(), LiveHub() as hub:
        upstream.always = paced = Paced()
        hub.add_provider(upstream, name="up", models=("m",), timeout=60)
        return Asker(hub, upstream, paced, hub.issue_key(), counter).measure()
