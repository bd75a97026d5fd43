"""One streamed answer of a provider: bytes in, deltas out, at a pace that leaves time for others."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from llmhub.runtime.large_work import done_beside
from providers.errors import MalformedReplyError, ProviderError, TruncatedReplyError
from providers.http import HttpReply
from providers.types import Delta
from providers.wire.codec import StreamDecoder
from providers.wire.frames import FrameDecoder
from providers.wire.sse import FrameParser, NdjsonParser, SseParser

FRAME_COST, LINE_COST = 16 * 1024, 256
TURN_COST = 8 * FRAME_COST
FRAMES_TOGETHER = TURN_COST // FRAME_COST
TURN_S = 0.004
"""What one stream does in so much time, which is faster than any model; and what a frame, or a line, is of it.

Units: bytes, or what takes as long.
"""

FIRST_TURN_COST = 128 * FRAME_COST
"""What a stream may do at once: most are over by then."""

LARGE_FRAME_BYTES = 16 * 1024
STREAM_TYPES = frozenset({"text/event-stream", "application/x-ndjson", "application/json", ""})

# What reading a reply of the wrong shape runs into.
MALFORMED = (LookupError, TypeError, ValueError, AttributeError)
NOT_IN_FORMAT = "The provider's reply is not in its format."
DONE = b"[DONE]"


class DeltaSource(Protocol):
    """What hands out the deltas of one answer, those that came together at once."""

    async def next(self) -> Sequence[Delta]:
        """Return what came next; empty at the end."""


class ReplyStream:
    """The frames of one reply, translated.

    Shape: `dropped_params` are what the request asked for and its provider could not take; `owner` names the provider.
    """

    def __init__(
        self, reply: HttpReply, decoder: StreamDecoder, *, owner: str, dropped_params: tuple[str, ...] = ()
    ) -> None:
        self.dropped_params = dropped_params
        self._reply = reply
        self._decoder = FrameDecoder(decoder)
        self._ends_at_finish = decoder.ends_at_finish
        self._parser: FrameParser = SseParser() if decoder.framing == "sse" else NdjsonParser()
        self._owner = owner
        self._groups: deque[list[bytes]] = deque()
        self._failure: ProviderError | None = None
        self._has_frames = False
        self._is_over = False
        """Whether the last frame of the format was read, or `[DONE]`: what follows is ignored."""
        self._is_read = False
        self._spent, self._turn_cost, self._turn_began_s = 0, FIRST_TURN_COST, time.monotonic()
        """What was done in this turn, and what may be."""

    async def next(self) -> Sequence[Delta]:
        """Return what came next, empty once the answer is whole.

        Errors: any ProviderError; TruncatedReplyError where the stream ended before the answer did.
        """
        while True:
            if self._failure is not None:
                raise self._failure
            if self._spent > self._turn_cost:
                await self._end_turn()
            if not self._groups and not await self._read():
                self._check_whole()
                return ()
            frames = self._groups.popleft()
            if max(map(len, frames), default=0) > LARGE_FRAME_BYTES:
                size_bytes = sum(map(len, frames))
                deltas = await done_beside(self._owner, partial(self._translate, frames), size_bytes=size_bytes)
            else:
                deltas = self._translate(frames)
            if deltas:
                return deltas

    async def _read(self) -> bool:
        """Read on, and cut what came into frames, no more of them together than are done in one turn."""
        if self._is_read:
            return False
        data = await self._next_piece()
        self._is_read = not data
        frames = self._parser.feed(data) if data else self._parser.flush()
        self._spent += len(data) + LINE_COST * data.count(b"\n")
        if len(frames) <= self._turn_cost // FRAME_COST:
            self._groups.append(frames)
        else:
            self._groups.extend(frames[i : i + FRAMES_TOGETHER] for i in range(0, len(frames), FRAMES_TOGETHER))
        return True

    async def _next_piece(self) -> bytes:
        """Return the next bytes of a stream that may matter, empty when there are none."""
        if self._is_over:
            await self._reply.drain()
            return b""
        try:
            return await self._reply.next_piece()
        except ProviderError:
            if self._decoder.is_finished:  # the answer is whole; what is lost is a usage or a mark of the end
                return b""
            raise

    def _translate(self, frames: list[bytes]) -> Sequence[Delta]:
        """Translate frames, as far as they are good; what was not is raised when the next are asked for."""
        if self._is_over:
            return ()
        self._spent += FRAME_COST * len(frames)
        deltas: list[Delta] = []
        try:
            for frame in frames:
                if frame.startswith(DONE) and frame.strip() == DONE:
                    self._is_over = True
                    deltas.extend(self._decoder.end_mark())
                    break
                deltas.extend(self._decoder.decode(frame))
                self._has_frames = True
                if self._ends_at_finish and self._decoder.is_finished:
                    self._is_over = True
                    break
        except ProviderError as error:
            self._failure = error
        except MALFORMED:
            self._failure = MalformedReplyError(NOT_IN_FORMAT)
        return deltas

    def _check_whole(self) -> None:
        if self._decoder.is_finished:
            return
        if not self._has_frames and self._reply.content_type not in STREAM_TYPES:
            raise MalformedReplyError("The provider's reply is not a stream in its format.")
        raise TruncatedReplyError("The provider's stream ended before the answer did.")

    async def _end_turn(self) -> None:
        """Let others have their turn, until as much time has passed as this one may take."""
        await asyncio.sleep(max(0.0, self._turn_began_s + TURN_S - time.monotonic()))
        self._spent, self._turn_cost, self._turn_began_s = 0, TURN_COST, time.monotonic()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._reply.aclose()
