"""Ollama's native API.

Source: https://docs.ollama.com/api and its server's `api/types.go`, read 2026-11.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from providers.backends.base import BaseProvider, ProviderSettings, WireCall
from providers.errors import ProviderError
from providers.types import ChatRequest, ChatResponse, JSONObject, ModelInfo, ProviderType
from providers.wire import ollama
from providers.wire.codec import StreamDecoder
from providers.wire.json_access import find_count, find_text, list_at, object_at, text_at

Think = bool | Literal["low", "medium", "high", "max"]

CAPABILITIES = {
    "completion": "chat",
    "embedding": "embeddings",
    "tools": "tools",
    "vision": "vision",
    "thinking": "reasoning",
}


class OllamaSettings(ProviderSettings):
    """What each chat asks of the server; None leaves it to the server.

    Shape: `keep_alive` is a duration such as `5m`; negative keeps a model loaded for ever, `0` not at all.
    Units: `num_ctx` in tokens.
    """

    num_ctx: PositiveInt | None = Field(default=None, title="Context window", description="In tokens.", examples=[8192])
    keep_alive: str | None = Field(
        default=None,
        title="Keep loaded",
        pattern=r"^(0|-?(\d+(\.\d+)?(ms|s|m|h))+)$",
        description="How long a model stays loaded after a chat; 0: not at all, negative: for ever.",
        examples=["5m"],
    )
    think: Think | None = Field(
        default=None, title="Thinking", description="Whether models that can reason do, and how much."
    )


def read_model(item: JSONObject) -> ModelInfo:
    told = [word for word in list_at(item, "capabilities") if isinstance(word, str)]
    return ModelInfo(
        name=find_text(item, "name") or text_at(item, "model"),
        capabilities=tuple(CAPABILITIES[word] for word in told if word in CAPABILITIES),
        context_window=find_count(object_at(item, "details"), "context_length"),
    )


class OllamaProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.OLLAMA
    api_key_hint: ClassVar[str] = "Ollama needs none, unless a proxy before it does."
    default_base_url: ClassVar[str] = "http://localhost:11434"
    needs_api_key: ClassVar[bool] = False
    settings_model: ClassVar[type[ProviderSettings]] = OllamaSettings
    settings: OllamaSettings

    def auth_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.endpoint.api_key}"} if self.endpoint.api_key else {}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        encoded = ollama.encode_request(
            request,
            stream=stream,
            num_ctx=self.settings.num_ctx,
            keep_alive=self.settings.keep_alive,
            think=self.settings.think,
        )
        return WireCall(path="/api/chat", json=encoded.body, dropped_params=encoded.dropped_params)

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return ollama.decode_reply(body)

    def stream_decoder(self) -> StreamDecoder:
        return ollama.OllamaStreamDecoder()

    def models_call(self, cursor: str | None) -> WireCall:
        return WireCall(path="/api/tags", method="GET")

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        return self.models_in(list_at(body, "models"), read_model), None

    def probe_call(self) -> WireCall:
        return WireCall(path="/api/version", method="GET")

    def read_error(self, status: int, body: Any) -> ProviderError:
        return ollama.decode_error(status, body)

    def without_refused(self, call: WireCall, error: ProviderError) -> WireCall | None:
        return call.reduced(ollama.without_refused(call.encoded, error))
