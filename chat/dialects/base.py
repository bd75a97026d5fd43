"""What a served API adds to its wire format; the gateway does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from chat.ledger.events import Dialect as DialectName
from providers.error_table import ServedError
from providers.types import Attempt, ChatRequest, ChatResponse, JSONObject
from providers.wire.codec import StreamEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """A request as a dialect read it; `provider` is None unless the dialect can name one apart from the model."""

    request: ChatRequest
    provider: str | None = None
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


class Dialect(ABC):
    """One API that clients speak to the hub. Every method is pure."""

    name: DialectName

    @abstractmethod
    def read(self, body: JSONObject) -> ParsedRequest:
        """Errors: BadRequestError with the field's path."""

    @abstractmethod
    def answer(self, response: ChatResponse, facts: Facts, request: ChatRequest) -> JSONObject:
        """Render a whole answer."""

    @abstractmethod
    def error(self, problem: ServedError) -> JSONObject:
        """Render a failure."""

    @abstractmethod
    def encoder(self, facts: Facts, request: ChatRequest) -> StreamEncoder:
        """Return what renders one streamed answer."""

    @abstractmethod
    def error_frame(self, problem: ServedError) -> bytes:
        """Render what ends a stream that broke."""
