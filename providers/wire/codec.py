"""What every codec offers. A codec is a module, `providers/wire/<format>.py`; all in it is pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from providers.types import ChatRequest, ChatResponse, Delta, JSONObject

Framing = Literal["sse", "ndjson"]


@dataclass(frozen=True, slots=True)
class EncodedRequest:
    """A request in a wire format. Shape: `dropped_params` are what the format cannot say, canonical, sorted."""

    body: JSONObject = field(repr=False)
    dropped_params: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyHead:
    """What the hub knows of an answer that it renders.

    Shape: `id` as the format spells it, such as `chatcmpl-…`; `model_name` is for answers that name none; `request` is
    what is answered, for formats that repeat it. Units: `created_s` Unix seconds.
    """

    id: str
    created_s: int
    model_name: str
    request: ChatRequest


class StreamDecoder(ABC):
    """Translates the frames of one streamed answer; made anew for each stream.

    `is_finished` turns true with the format's own mark of the end: a stream that ends without is truncated. Where it
    `ends_at_finish`, that mark is the last of it: what follows is no part of the answer.
    """

    framing: ClassVar[Framing] = "sse"
    ends_at_finish: ClassVar[bool] = False
    is_finished: bool = False

    @abstractmethod
    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        """Translate one frame.

        Errors: a ProviderError where the frame reports one; MalformedReplyError.
        """

    def end_mark(self) -> Sequence[Delta]:
        """Take `[DONE]`, for formats that have it: what it adds to the answer."""
        return ()


class StreamEncoder(ABC):
    """Renders one streamed answer as whole frames; made anew for each stream."""

    @abstractmethod
    def encode(self, deltas: Iterable[Delta]) -> bytes:
        """Render deltas as none or more frames."""

    @abstractmethod
    def end(self, response: ChatResponse) -> bytes:
        """Render what ends a stream that came whole; `response` is all of it, its usage included."""
