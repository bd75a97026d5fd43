"""Any server that speaks OpenAI's chat completions: llama.cpp, vLLM, LM Studio and the like.

Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md and
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html, read 2026-11.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from providers.backends.base import ProviderSettings, WireCall
from providers.backends.openai import HeaderValue, OpenAIProvider, OpenAISettings
from providers.errors import ProviderError
from providers.http import HttpReply
from providers.types import JSONObject, ModelInfo, ProviderType
from providers.wire.json_access import find_count, text_at
from providers.wire.openai_chat import LengthParam

HOPS_AND_SECRETS = frozenset(
    {
        "accept",
        "accept-encoding",
        "api-key",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-api-key",
        "x-goog-api-key",
    }
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _check_header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("not the name of a header")
    if name.lower() in HOPS_AND_SECRETS:
        raise ValueError(f"the hub itself sets the header {name.lower()}; a key belongs in the API key's own field")
    return name


class CustomSettings(OpenAISettings):
    """What such a server may need besides.

    Shape: `probe_path` is appended to the base URL; with `strict_models` only the models it lists are asked of it;
    `extra_headers` go with every call.
    """

    strict_models: bool = Field(
        default=False, title="Listed models only", description="Ask it only for models that it lists."
    )
    probe_path: str | None = Field(
        default=None,
        title="Probe path",
        pattern=r"^/[!-~]*$",
        max_length=200,
        description="What is asked, below the base URL, to see whether the server works; empty: /models.",
        examples=["/health"],
    )
    extra_headers: dict[Annotated[str, AfterValidator(_check_header_name)], HeaderValue] = Field(
        default_factory=dict,
        repr=False,
        description="Headers that go with every call, as a JSON object; whoever sees the provider sees them. "
        "To change them, enter the key again.",
        examples=[{"x-team": "search"}],
    )


class CustomProvider(OpenAIProvider):
    provider_type: ClassVar[ProviderType] = ProviderType.CUSTOM
    api_key_hint: ClassVar[str] = "Only if the server was started with one, e.g. vLLM's <code>--api-key</code>."
    price_list: ClassVar[str] = ""
    default_base_url: ClassVar[str] = ""
    needs_api_key: ClassVar[bool] = False
    settings_model: ClassVar[type[ProviderSettings]] = CustomSettings
    settings: CustomSettings
    length_param: ClassVar[LengthParam] = "max_tokens"

    def auth_headers(self) -> dict[str, str]:
        extra = {name.lower(): value for name, value in self.settings.extra_headers.items()}
        return {**extra, **super().auth_headers()}

    def probe_call(self) -> WireCall:
        return WireCall(path=self.settings.probe_path or "/models", method="GET")

    async def _read_probe(self, reply: HttpReply) -> None:
        if self.settings.probe_path is None:
            await super()._read_probe(reply)
            return
        async with reply:
            await reply.read()

    def is_sound_refusal(self, error: ProviderError) -> bool:
        """A server without a model list says so, and chats all the same."""
        return self.settings.probe_path is None and error.upstream_status in (404, 405)

    def read_model(self, item: JSONObject) -> ModelInfo:
        window = find_count(item, "max_model_len") or find_count(item, "context_length")
        return ModelInfo(name=text_at(item, "id"), context_window=window)
