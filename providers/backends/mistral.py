"""Mistral: OpenAI's API, but unknown fields are refused wherever they stand.

Source: https://docs.mistral.ai/api and its error glossary, read 2026-11.
"""

from __future__ import annotations

from typing import Any, ClassVar

from providers.backends.base import ProviderSettings, WireCall
from providers.backends.openai import OpenAIProvider
from providers.errors import ProviderError
from providers.types import ChatRequest, ChatResponse, JSONObject, ModelInfo, ProviderType
from providers.wire import mistral
from providers.wire.codec import StreamDecoder
from providers.wire.json_access import find_count, object_at, text_at

CAPABILITIES = {
    "completion_chat": "chat",
    "function_calling": "tools",
    "vision": "vision",
    "reasoning": "reasoning",
}


class MistralProvider(OpenAIProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.MISTRAL
    api_key_hint: ClassVar[str] = "Thirty-two letters and digits; from console.mistral.ai, API keys."
    price_list: ClassVar[str] = "mistral"
    otel_name: ClassVar[str] = "mistral_ai"
    default_base_url: ClassVar[str] = "https://api.mistral.ai/v1"
    settings_model: ClassVar[type[ProviderSettings]] = ProviderSettings

    def auth_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.endpoint.api_key}"}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        encoded = mistral.encode_request(request, stream=stream)
        return WireCall(path="/chat/completions", json=encoded.body, dropped_params=encoded.dropped_params)

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return mistral.decode_reply(body)

    def stream_decoder(self) -> StreamDecoder:
        return mistral.MistralStreamDecoder()

    def read_error(self, status: int, body: Any) -> ProviderError:
        return mistral.decode_error(status, body)

    def read_model(self, item: JSONObject) -> ModelInfo:
        told = object_at(item, "capabilities")
        return ModelInfo(
            name=text_at(item, "id"),
            capabilities=tuple(ours for theirs, ours in CAPABILITIES.items() if told.get(theirs)),
            context_window=find_count(item, "max_context_length"),
        )
