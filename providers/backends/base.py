"""`BaseProvider`: the input and output that every provider type shares; the wire formats lie in its subclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from providers.errors import ProviderError
from providers.http import HttpClient
from providers.types import (
    NOTHING,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Endpoint,
    JSONObject,
    ModelInfo,
    ProbeResult,
    ProviderType,
)


class ProviderSettings(BaseModel):
    """The keys that `ProviderConfig.settings` may hold; unknown ones are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCall:
    """One HTTP request to a provider, as data.

    Shape: `path` is appended to the provider's base URL; `dropped_params` are the canonical names of what
    the caller asked for and this provider cannot take.
    """

    path: str
    method: Literal["GET", "POST"] = "POST"
    json: JSONObject | None = None
    headers: Mapping[str, str] = NOTHING
    query: Mapping[str, str] = NOTHING
    dropped_params: tuple[str, ...] = ()


class StreamReader(ABC):
    """Translates the frames of one streamed answer; made anew for each stream.

    `finished` turns true with the provider's own mark of the end: a stream that ends without is truncated.
    """

    framing: ClassVar[Literal["sse", "ndjson"]] = "sse"
    finished: bool = False

    @abstractmethod
    def read(self, event: str | None, data: JSONObject) -> Iterable[ChatChunk]:
        """Translate one frame.

        Shape: `event` is the SSE event name, None when not sent; `data` the decoded JSON.
        Errors: a ProviderError where the frame reports one.
        """


class BaseProvider(ABC):
    """One configured endpoint, spoken to in its own wire format.

    The abstract methods are pure: value types in, wire data out, or the reverse. Everything that touches
    the network is here, once.
    """

    provider_type: ClassVar[ProviderType]
    default_base_url: ClassVar[str] = ""
    needs_api_key: ClassVar[bool] = True
    settings_model: ClassVar[type[ProviderSettings]] = ProviderSettings

    def __init__(self, endpoint: Endpoint, client: HttpClient) -> None:
        self.endpoint = endpoint
        self._client = client
        self.settings = self.settings_model.model_validate(dict(endpoint.settings))

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Return the whole answer.

        Errors: any ProviderError.
        """
        raise NotImplementedError

    def stream_chat(self, request: ChatRequest) -> AsyncGenerator[ChatChunk]:
        """Yield the answer as it comes; closing the generator closes the connection to the provider.

        Errors: any ProviderError, before the first chunk or between two; TruncatedReplyError when the
        stream ends before its end.
        """
        raise NotImplementedError

    async def list_models(self) -> list[ModelInfo]:
        """Return every model the provider lists, over all its pages."""
        raise NotImplementedError

    async def health_check(self) -> ProbeResult:
        """Probe the provider at no cost in tokens. Never raises a ProviderError."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of what belongs to this provider alone; the shared client stays open."""

    @abstractmethod
    def auth_headers(self) -> dict[str, str]:
        """The headers that carry the key."""

    @abstractmethod
    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """Translate a request."""

    @abstractmethod
    def read_reply(self, body: JSONObject) -> ChatResponse:
        """Translate a whole answer.

        Errors: MalformedReplyError, or the error that the body reports.
        """

    @abstractmethod
    def stream_reader(self) -> StreamReader:
        """Return a reader for one streamed answer."""

    @abstractmethod
    def models_call(self, cursor: str | None) -> WireCall:
        """Ask for one page of the model list; `cursor` is None for the first."""

    @abstractmethod
    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        """Translate one page of the model list, with the cursor of the next."""

    @abstractmethod
    def probe_call(self) -> WireCall:
        """The cheapest call that proves address and key, and costs no tokens."""

    @abstractmethod
    def read_error(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError:
        """Classify a refusal.

        Shape: `body` is the decoded JSON, or the text where it was none.
        """

    def without_refused(self, call: WireCall, error: ProviderError) -> WireCall | None:
        """Return the call to try once more after `error`, or None: for parameters that only some servers take."""
        return None
