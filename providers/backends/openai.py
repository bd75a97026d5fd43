"""OpenAI, whose API other types state their differences from.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from providers.backends.base import BaseProvider, ProviderSettings, WireCall
from providers.errors import ProviderError
from providers.types import ChatRequest, ChatResponse, JSONObject, ModelInfo, ProviderType
from providers.wire import openai_chat
from providers.wire.codec import StreamDecoder
from providers.wire.json_access import list_at, text_at
from providers.wire.openai_chat import LengthParam

HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]+$")]


class OpenAISettings(ProviderSettings):
    """Which organization and project the calls are billed to; None leaves it to the key."""

    organization: HeaderValue | None = Field(default=None, description="Who is billed.", examples=["org-4Hn2kD81"])
    project: HeaderValue | None = Field(
        default=None, description="The project that is billed.", examples=["proj_9aBc27"]
    )


class OpenAIProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.OPENAI
    api_key_hint: ClassVar[str] = "Begins with <code>sk-proj-</code>; from platform.openai.com, API keys."
    price_list: ClassVar[str] = "openai"
    default_base_url: ClassVar[str] = "https://api.openai.com/v1"
    settings_model: ClassVar[type[ProviderSettings]] = OpenAISettings
    settings: OpenAISettings
    length_param: ClassVar[LengthParam] = "max_completion_tokens"

    def auth_headers(self) -> dict[str, str]:
        headers = {
            "authorization": f"Bearer {self.endpoint.api_key}" if self.endpoint.api_key else None,
            "openai-organization": self.settings.organization,
            "openai-project": self.settings.project,
        }
        return {name: value for name, value in headers.items() if value}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        encoded = openai_chat.encode_request(request, stream=stream, length_param=self.length_param)
        return WireCall(path="/chat/completions", json=encoded.body, dropped_params=encoded.dropped_params)

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return openai_chat.decode_reply(body)

    def stream_decoder(self) -> StreamDecoder:
        return openai_chat.ChatStreamDecoder()

    def models_call(self, cursor: str | None) -> WireCall:
        return WireCall(path="/models", method="GET")

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        alone = [body] if "id" in body and "data" not in body else []  # a bare list of one
        return self.models_in(alone or list_at(body, "data"), self.read_model), None

    def read_model(self, item: JSONObject) -> ModelInfo:
        return ModelInfo(name=text_at(item, "id"))

    def probe_call(self) -> WireCall:
        return self.models_call(None)

    def read_error(self, status: int, body: Any) -> ProviderError:
        return openai_chat.decode_error(status, body)

    def without_refused(self, call: WireCall, error: ProviderError) -> WireCall | None:
        """Leave out `stream_options` where a server does not know it; the usage is then lost."""
        if call.json is None or "stream_options" not in call.json or error.upstream_status not in (400, 422):
            return None
        if "stream_options" not in f"{error.param} {error.message}":
            return None
        return replace(call, json={key: value for key, value in call.json.items() if key != "stream_options"})
