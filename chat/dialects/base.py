"""What a served dialect has to say; everything else about serving a chat is `serving`'s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from chat.ledger.events import Dialect as DialectName
from providers.error_table import ServedError
from providers.types import Attempt, ChatChunk, ChatRequest, ChatResponse, JSONObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """A request as a dialect read it; `provider` is None unless the dialect can name one apart from the model."""

    request: ChatRequest
    provider: str | None = None
    is_stream: bool = False
    wants_usage: bool = False


@dataclass(slots=True, kw_only=True)
class Facts:
    """What the hub knows of a chat beside the answer, for rendering. Units: `created_s` Unix seconds."""

    chat_id: UUID
    created_s: int
    provider: str = ""
    model_name: str = ""
    wants_usage: bool = False
    attempts: Sequence[Attempt] = ()
    cost_usd: Decimal | None = None
    latency_ms: int = 0
    chat_hex: str = field(init=False)
    _begun: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chat_hex = self.chat_id.hex

    def begin(self, choice_index: int) -> bool:
        """Whether this is the first frame of that choice."""
        if choice_index in self._begun:
            return False
        self._begun.add(choice_index)
        return True


class Dialect(ABC):
    """One API that clients speak to the hub. Every method is pure."""

    name: DialectName

    @abstractmethod
    def read(self, body: JSONObject) -> ParsedRequest:
        """Errors: BadRequestError with the field's path."""

    @abstractmethod
    def answer(self, response: ChatResponse, facts: Facts) -> JSONObject:
        """Render a whole answer."""

    @abstractmethod
    def error(self, problem: ServedError) -> JSONObject:
        """Render a failure."""

    @abstractmethod
    def frames(self, chunk: ChatChunk, facts: Facts) -> bytes:
        """Render one piece of a stream, as none or more whole frames."""

    @abstractmethod
    def last_frames(self, response: ChatResponse, facts: Facts) -> bytes:
        """Render what ends a stream that came whole."""

    @abstractmethod
    def error_frame(self, problem: ServedError) -> bytes:
        """Render what ends a stream that broke."""
