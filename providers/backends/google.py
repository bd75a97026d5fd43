"""Google's Gemini API.

Source: https://ai.google.dev/api, read 2026-11.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar
from urllib.parse import quote

from providers.backends.base import BaseProvider, WireCall
from providers.errors import ProviderError
from providers.types import NOTHING, ChatRequest, ChatResponse, JSONObject, ModelInfo, ProviderType
from providers.wire import google
from providers.wire.codec import StreamDecoder
from providers.wire.google import Thinking
from providers.wire.json_access import find_count, find_text, list_at, text_at

CAPABILITY_OF_METHOD = {"generateContent": "chat", "embedContent": "embeddings", "batchEmbedContents": "embeddings"}
MODELS_PAGE_SIZE = "1000"
GEMINI = "gemini-"

THINKS_BY_BUDGET = re.compile(r"gemini-2\.5\b")
THINKS_BY_LEVEL = re.compile(r"gemini-[3-9]")
"""How models are told how much to think, by their names.

Source: https://ai.google.dev/gemini-api/docs/thinking, read 2026-11.
"""


def thinking_of(model_name: str) -> Thinking | None:
    name = model_name.removeprefix("models/")
    if THINKS_BY_BUDGET.match(name):
        return "budget"
    return "level" if THINKS_BY_LEVEL.match(name) else None


def generate_path(model_name: str, method: str) -> str:
    return f"/models/{quote(model_name.removeprefix('models/'), safe='')}:{method}"


def read_model(item: JSONObject) -> ModelInfo | None:
    """Return a model; None for one known neither to chat nor to embed: the hub has no use for it."""
    if item.get("supportedGenerationMethods") and not _capabilities(item):
        return None
    return ModelInfo(
        name=text_at(item, "name").removeprefix("models/"),
        capabilities=_capabilities(item),
        context_window=find_count(item, "inputTokenLimit"),
        max_output_tokens=find_count(item, "outputTokenLimit"),
    )


def _capabilities(item: JSONObject) -> tuple[str, ...]:
    methods = [method for method in list_at(item, "supportedGenerationMethods") if isinstance(method, str)]
    found = {CAPABILITY_OF_METHOD[method] for method in methods if method in CAPABILITY_OF_METHOD}
    if "chat" in found and item.get("thinking") is True:
        found.add("reasoning")
    if "chat" in found and GEMINI in text_at(item, "name"):
        found |= {"tools", "vision"}  # which the list does not tell
    return tuple(sorted(found))


class GoogleProvider(BaseProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.GOOGLE
    api_key_hint: ClassVar[str] = "Begins with <code>AIza</code>; from aistudio.google.com, API keys."
    price_list: ClassVar[str] = "google"
    otel_name: ClassVar[str] = "gcp.gemini"
    default_base_url: ClassVar[str] = "https://generativelanguage.googleapis.com/v1"

    def auth_headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.endpoint.api_key}

    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        encoded = google.encode_request(request, stream=stream, thinking=thinking_of(request.model_name))
        return WireCall(
            path=generate_path(request.model_name, "streamGenerateContent" if stream else "generateContent"),
            json=encoded.body,
            query={"alt": "sse"} if stream else NOTHING,
            dropped_params=encoded.dropped_params,
        )

    def read_reply(self, body: JSONObject) -> ChatResponse:
        return google.decode_reply(body)

    def stream_decoder(self) -> StreamDecoder:
        return google.GoogleStreamDecoder()

    def models_call(self, cursor: str | None) -> WireCall:
        query = {"pageSize": MODELS_PAGE_SIZE} | ({"pageToken": cursor} if cursor else {})
        return WireCall(path="/models", method="GET", query=query)

    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        return self.models_in(list_at(body, "models"), read_model), find_text(body, "nextPageToken") or None

    def probe_call(self) -> WireCall:
        return WireCall(path="/models", method="GET", query={"pageSize": "1"})

    def read_error(self, status: int, body: Any) -> ProviderError:
        return google.decode_error(status, body)
