"""Anthropic.

Source: https://platform.claude.com/docs/en/api/messages, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import Field, PositiveInt

from providers.backends.base import BaseProvider, ProviderSettings, WireCall
from providers.errors import ProviderError
from providers.types import ChatRequest, ChatResponse, JSONObject, ModelInfo, ProviderType
from providers.wire import anthropic_messages
from providers.wire.codec import StreamDecoder
from providers.wire.json_access import find_count, find_text, list_at, object_at, text_at

UNSAMPLED_VERSION: Final = "2026-10-21"
"""From this version on, sampling parameters are refused, even at their default values.

https://platform.claude.com/docs/en/api/migration-2026-10-21, read 2026-11.
"""
SAMPLED_VERSION: Final = "2023-06-01"

MODELS_PAGE_SIZE = "1000"


class AnthropicSettings(ProviderSettings):
    """`api_version` pins what the hub else picks by the request; `default_max_tokens` is for chats that name none."""

    api_version: str | None = Field(
        default=None,
        title="API version",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Pins the version of the API; empty: the hub picks it by the request.",
        examples=["2023-06-01"],
    )
    default_max_tokens: PositiveInt = Field(
        default=4096,
        title="Longest answer",
        description="In tokens, for chats that name no length.",
        examples=[8192],
    )


def _has_sampling(request: ChatRequest) -> bool:
    sampling = request.sampling
    return any(value is not None for value in (sampling.temperature, sampling.top_p, sampling.top_k))


def read_model(item: JSONObject) -> ModelInfo:
    capabilities = object_at(item, "capabilities")
    vision = object_at(capabilities, "image_input").get("supported") is not False  # every model of today has it
    reasoning = object_at(capabilities, "thinking").get("supported") is True
    return ModelInfo(
        name=text_at(item, "id"),
        capabilities=("chat", "tools", *(["vision"] * vision), *(["reasoning"] * reasoning)),
        context_window=find_count(item, "max_input_tokens"),
        max_output_tokens=find_count(item, "max_tokens"),
    )


class AnthropicProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.ANTHROPIC
    api_key_hint: ClassVar[str] = "Begins with <code>sk-ant-</code>; from console.anthropic.com, API keys."
    price_list: ClassVar[str] = "anthropic"
    default_base_url: ClassVar[str] = "https://api.anthropic.com"
    settings_model: ClassVar[type[ProviderSettings]] = AnthropicSettings
    settings: AnthropicSettings

    def auth_headers(self) -> dict[str, str]:
        return {"x-api-key": self.endpoint.api_key}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        version = self.settings.api_version or (SAMPLED_VERSION if _has_sampling(request) else UNSAMPLED_VERSION)
        encoded = anthropic_messages.encode_request(
            request,
            stream=stream,
            default_max_tokens=self.settings.default_max_tokens,
            takes_sampling=version < UNSAMPLED_VERSION,
        )
        return WireCall(
            path="/v1/messages",
            json=encoded.body,
            headers={"anthropic-version": version},
            dropped_params=encoded.dropped_params,
        )

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return anthropic_messages.decode_reply(body)

    def stream_decoder(self) -> StreamDecoder:
        return anthropic_messages.AnthropicStreamDecoder()

    def models_call(self, cursor: str | None) -> WireCall:
        query = {"limit": MODELS_PAGE_SIZE} | ({"after_id": cursor} if cursor else {})
        return self._models_call(query)

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        models = self.models_in(list_at(body, "data"), read_model)
        return models, find_text(body, "last_id") if body.get("has_more") is True else None

    def probe_call(self) -> WireCall:
        return self._models_call({"limit": "1"})

    def read_error(self, status: int, body: Any) -> ProviderError:
        return anthropic_messages.decode_error(status, body)

    def without_refused(self, call: WireCall, error: ProviderError) -> WireCall | None:
        return call.reduced(anthropic_messages.without_refused(call.encoded, error))

    def _models_call(self, query: Mapping[str, str]) -> WireCall:
        version = self.settings.api_version or UNSAMPLED_VERSION
        return WireCall(path="/v1/models", method="GET", headers={"anthropic-version": version}, query=query)
