"""Mistral's chat completions: OpenAI's shape, but unknown fields are refused wherever they stand.

Source: https://docs.mistral.ai/api, its error glossary and mistralai 3.7.0, read 2026-11.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from providers.backends.base import ProviderSettings, WireCall
from providers.backends.openai import OpenAIProvider, meaningless_params, openai_content, openai_payload
from providers.errors import UnsupportedRequestError
from providers.types import (
    NOTHING,
    ChatMessage,
    ChatRequest,
    Extra,
    JSONObject,
    ModelInfo,
    OpaquePart,
    ProviderType,
    ToolCall,
)
from providers.wire.json_access import find_count, object_at, text_at

KNOWN_PARAMS = frozenset(
    {
        "frequency_penalty",
        "guardrails",
        "logprobs",
        "max_tokens",
        "messages",
        "metadata",
        "min_tokens",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_logprobs",
        "prompt_mode",
        "random_seed",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "safe_prompt",
        "service_tier",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
KNOWN_FUNCTION_KEYS = frozenset({"name", "description", "parameters", "strict"})
# The current models take no other effort.
EFFORTS: Mapping[str, str] = {"none": "none", "minimal": "none"}

CAPABILITIES = {
    "completion_chat": "chat",
    "function_calling": "tools",
    "vision": "vision",
    "reasoning": "reasoning",
}

_RENAMED = {"seed": "random_seed", "max_completion_tokens": "max_tokens"}
_TOOL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_ID_LETTERS = string.digits + string.ascii_letters


def mistral_payload(request: ChatRequest) -> tuple[JSONObject, tuple[str, ...]]:
    """Translate a request; return also the names of the parameters that were left out or changed.

    Errors: UnsupportedRequestError for what would make another request of it.
    """
    body = openai_payload(request, length_param="max_tokens")
    asked = body.copy()
    body |= _renamed(body) | {"messages": _messages(request.messages)}
    if (temperature := request.temperature) is not None:
        body["temperature"] = min(max(temperature, 0.0), 1.0)
    if (effort := request.reasoning_effort) is not None:
        body["reasoning_effort"] = EFFORTS.get(effort, "high")
    if "tools" in body:
        body["tools"] = [_tool(tool) for tool in request.tools]
    body = {name: value for name, value in body.items() if name in KNOWN_PARAMS}
    changed = {name for name in ("temperature", "reasoning_effort") if body.get(name) != asked.get(name)}
    left_out = asked.keys() - body.keys() - _RENAMED.keys()
    dropped = changed | left_out | set(_dropped_of_messages(request.messages)) | set(meaningless_params(request))
    return body, tuple(sorted(dropped))


def _renamed(body: JSONObject) -> JSONObject:
    return {new: body[old] for old, new in _RENAMED.items() if old in body}


def _tool(tool: Extra) -> JSONObject:
    if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
        raise UnsupportedRequestError(
            f"Providers of type {ProviderType.MISTRAL} take tools of the type `function` only.", param="tools"
        )
    function = {key: value for key, value in tool["function"].items() if key in KNOWN_FUNCTION_KEYS}
    return {"type": "function", "function": function}


def _messages(messages: tuple[ChatMessage, ...]) -> list[JSONObject]:
    wire = [_message(message) for message in messages]
    _fill_gaps(wire)
    if wire and wire[-1]["role"] == "assistant":
        wire[-1]["prefix"] = True
    return wire


def _fill_gaps(wire: list[JSONObject]) -> None:
    """Put an assistant's turn between a tool's answer and the user's next turn, which must not touch."""
    gaps = [i for i, (one, two) in enumerate(pairwise(wire), 1) if (one["role"], two["role"]) == ("tool", "user")]
    for i in reversed(gaps):
        wire.insert(i, {"role": "assistant", "content": "OK."})


def _message(message: ChatMessage) -> JSONObject:
    role = "system" if message.role == "developer" else message.role
    content = message.content
    if isinstance(content, tuple):
        content = tuple(part if isinstance(part, OpaquePart) else replace(part, extra=NOTHING) for part in content)
    wire: JSONObject = {"role": role, "content": openai_content(content) or ""}
    if message.tool_calls:
        wire["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = mistral_call_id(message.tool_call_id)
    return wire


def _tool_call(call: ToolCall) -> JSONObject:
    if not call.name:
        raise UnsupportedRequestError(
            f"Providers of type {ProviderType.MISTRAL} take calls of functions only.", param="messages"
        )
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": mistral_call_id(call.id), "type": "function", "function": function}


def mistral_call_id(id_: str) -> str:
    """Return the id in the form that Mistral demands: its own unchanged, any other always the same nine letters."""
    if _TOOL_CALL_ID.fullmatch(id_):
        return id_
    digest = hashlib.sha256(id_.encode()).digest()
    return "".join(_ID_LETTERS[byte % len(_ID_LETTERS)] for byte in digest[:9])


def _dropped_of_messages(messages: Iterable[ChatMessage]) -> Iterable[str]:
    for message in messages:
        parts = message.content if isinstance(message.content, tuple) else ()
        for extra in (message.extra, *(part.extra for part in parts if not isinstance(part, OpaquePart))):
            yield from (f"messages.{key}" for key, value in extra.items() if value)


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
        body, dropped_params = mistral_payload(request)
        if stream:
            body["stream"] = True
        return WireCall(path="/chat/completions", json=body, dropped_params=dropped_params)

    def read_model(self, item: JSONObject) -> ModelInfo:
        told = object_at(item, "capabilities")
        return ModelInfo(
            name=text_at(item, "id"),
            capabilities=tuple(ours for theirs, ours in CAPABILITIES.items() if told.get(theirs)),
            context_window=find_count(item, "max_context_length"),
        )
