"""Every provider type's code, by type."""

from __future__ import annotations

from collections.abc import Mapping

from providers.backends.anthropic import AnthropicProvider
from providers.backends.base import BaseProvider
from providers.backends.custom import CustomProvider
from providers.backends.google import GoogleProvider
from providers.backends.mistral import MistralProvider
from providers.backends.ollama import OllamaProvider
from providers.backends.openai import OpenAIProvider
from providers.types import ProviderType

BACKENDS: Mapping[ProviderType, type[BaseProvider]] = {
    ProviderType.OLLAMA: OllamaProvider,
    ProviderType.OPENAI: OpenAIProvider,
    ProviderType.ANTHROPIC: AnthropicProvider,
    ProviderType.GOOGLE: GoogleProvider,
    ProviderType.MISTRAL: MistralProvider,
    ProviderType.CUSTOM: CustomProvider,
}
