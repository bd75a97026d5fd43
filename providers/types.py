"""The value types that every provider type is translated to and from.

The canonical shape is OpenAI's chat completion. A field this module does not name travels in `extra`,
so that parsing a request and rendering it again loses nothing. What carries content shows none of it in `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

JSONObject = dict[str, Any]
Extra = Mapping[str, Any]


class _Nothing(dict[str, Any]):
    """The empty mapping, hashable so that it can be the default of a dataclass field."""

    def __hash__(self) -> int:  # type: ignore[override]  # nothing is ever added
        return 0


NOTHING: Extra = _Nothing()

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
UsageSource = Literal["provider", "estimated"]


class ProviderType(StrEnum):
    """The wire formats the hub speaks. Values are stored and served."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    MISTRAL = "mistral"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True, repr=False)
class TextPart:
    text: str
    extra: Extra = NOTHING


@dataclass(frozen=True, slots=True, repr=False)
class ImagePart:
    """An image in a user turn.

    Shape: `url` is an http(s) URL or a `data:` URL; `detail` is OpenAI's hint, None when not given.
    """

    url: str
    detail: str | None = None
    extra: Extra = NOTHING


@dataclass(frozen=True, slots=True, repr=False)
class OpaquePart:
    """A content part of a kind the hub does not translate (audio, file, …): the wire object itself."""

    wire: Extra


ContentPart = TextPart | ImagePart | OpaquePart


@dataclass(frozen=True, slots=True, repr=False)
class ToolCall:
    """A call the model asks for.

    Shape: `arguments` is the JSON text as the model wrote it, not parsed.
    """

    id: str
    name: str
    arguments: str
    extra: Extra = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChatMessage:
    """One turn.

    Shape: `content` is None where the wire had null or nothing (an assistant turn of tool calls alone).
    """

    role: Role
    content: str | tuple[ContentPart, ...] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    extra: Extra = NOTHING

    @property
    def text(self) -> str:
        """The text of this turn, its other parts left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or () if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChatRequest:
    """One chat as the caller asked for it. None means: not given, the provider decides.

    Shape: `tools`, `tool_choice` and `response_format` are OpenAI's wire objects; `extra` holds the
    parameters that the hub does not know, as they came; `via` the hubs that the request came through.
    Units: `size_bytes` is the size of the body that said all this; 0 where it is small, or there was none.
    """

    messages: tuple[ChatMessage, ...]
    model_name: str = ""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    tools: tuple[Extra, ...] = ()
    tool_choice: str | Extra | None = None
    parallel_tool_calls: bool | None = None
    response_format: Extra | None = None
    reasoning_effort: str | None = None
    user: str | None = None
    extra: Extra = NOTHING
    size_bytes: int = 0
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens one chat used.

    Units: tokens. `cached_tokens` and `cache_write_tokens` are part of `prompt_tokens`,
    `reasoning_tokens` of `completion_tokens`; None where the provider does not tell.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = "provider"

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Choice:
    """One answer of the model.

    Shape: `finish_reason` is canonical, None while the answer is not whole; `native_finish_reason` the
    provider's own word.
    """

    index: int = 0
    content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = "stop"
    native_finish_reason: str | None = None
    logprobs: Extra | None = None
    extra: Extra = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChatResponse:
    """A whole answer.

    Shape: `model_name` as the provider reports it; `upstream_id` the provider's id of the answer;
    `dropped_params` the request's parameters that this provider cannot take, by their canonical names.
    """

    choices: tuple[Choice, ...]
    model_name: str
    usage: Usage | None = None
    upstream_id: str | None = None
    dropped_params: tuple[str, ...] = ()
    extra: Extra = NOTHING

    @property
    def content(self) -> str:
        """The text of the first choice."""
        return self.choices[0].content or "" if self.choices else ""

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.choices[0].finish_reason if self.choices else None


@dataclass(frozen=True, slots=True, repr=False)
class ToolCallDelta:
    """A piece of a tool call: `id` and `name` come with the first piece, `arguments` in pieces."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    extra: Extra = NOTHING


# What is made for every chunk is not frozen, as that would more than double the price of making it. Nobody changes it.
@dataclass(slots=True, kw_only=True, repr=False)
class ChoiceDelta:
    """What one frame of a stream adds to one choice."""

    index: int = 0
    content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None
    logprobs: Extra | None = None
    extra: Extra = NOTHING

    @property
    def has_content(self) -> bool:
        return bool(self.content or self.reasoning or self.refusal or self.tool_calls)


@dataclass(slots=True, kw_only=True, repr=False)
class ChatChunk:
    """One frame of a streamed answer.

    Shape: `usage`, where given, is the total so far and replaces an earlier one; `dropped_params` is set
    on the first chunk alone.
    """

    choices: tuple[ChoiceDelta, ...] = ()
    usage: Usage | None = None
    model_name: str | None = None
    upstream_id: str | None = None
    dropped_params: tuple[str, ...] = ()
    extra: Extra = NOTHING

    @property
    def has_content(self) -> bool:
        return any(choice.has_content for choice in self.choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model as a provider lists it.

    Shape: `capabilities` are of `chat, embeddings, tools, vision, reasoning`; empty when not told.
    Units: tokens.
    """

    name: str
    capabilities: tuple[str, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a health probe found; `error` says in words what is wrong, empty when `ok`."""

    ok: bool
    latency_ms: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs. Units: USD per million tokens; None where not known, never 0 for unknown."""

    input_usd_per_mtok: Decimal | None = None
    output_usd_per_mtok: Decimal | None = None
    cached_input_usd_per_mtok: Decimal | None = None


@dataclass(frozen=True, slots=True)
class SentBody:
    """A body that went to a provider. Shape: `commitment` is its HMAC-SHA256 in hex, None where there is no salt."""

    size_bytes: int
    commitment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a chat at one provider.

    Shape: `error` is empty when it succeeded; `sent` has more than one body where the first was refused for a
    parameter and went once more without.
    """

    provider: str
    model_name: str
    ok: bool
    latency_ms: int
    error_type: str = ""
    error: str = field(default="", repr=False)
    upstream_status: int | None = None
    upstream_request_id: str | None = None
    sent: tuple[SentBody, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Units: seconds. `read_s` bounds the wait for the first byte and between two."""

    connect_s: float = 5.0
    read_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a provider is and how to reach it: all that a backend needs to know of a `ProviderConfig`.

    Shape: `api_key` in clear, therefore out of `repr`; `settings`, whose headers may carry another key, as
    validated by the backend's `settings_model`.
    """

    name: str
    base_url: str
    api_key: str = field(default="", repr=False)
    timeouts: Timeouts = Timeouts()
    settings: Extra = field(default=NOTHING, repr=False)
