"""The value types that every wire format is translated to and from.

A message and an answer are ordered parts. What a format says beyond these types travels as a `Passthrough`, which names
its format and goes out in that format alone. What carries content shows none of it in `repr`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
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


Role = Literal["system", "developer", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
UsageSource = Literal["provider", "estimated"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ToolMode = Literal["auto", "none", "required", "tool"]
OutputKind = Literal["text", "json_object", "json_schema"]


class ProviderType(StrEnum):
    """The wire formats the hub speaks. Values are stored and served."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    MISTRAL = "mistral"
    CUSTOM = "custom"


class WireFormat(StrEnum):
    """The formats in which chats come and go. Values are stored and served."""

    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    ANTHROPIC_MESSAGES = "anthropic_messages"
    GOOGLE = "google"
    MISTRAL = "mistral"
    OLLAMA = "ollama"


@dataclass(frozen=True, slots=True, repr=False)
class Passthrough:
    """What one format says beyond the value types. Shape: `fields` stand beside the known ones, as they came."""

    format: WireFormat
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Signature:
    """What a provider demands back unchanged with its reasoning or its call; it means nothing to another format."""

    format: WireFormat
    value: str


@dataclass(frozen=True, slots=True, repr=False)
class TextPart:
    text: str
    signature: Signature | None = None
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ImagePart:
    """An image. Shape: `url` is an http(s) or a `data:` URL; `detail` is OpenAI's hint, None when not given."""

    url: str
    detail: str | None = None
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class FilePart:
    """A document.

    Shape: `url` is an http(s) or a `data:` URL; empty where `file_id` names it at its provider. `filename` is
    None where the format has none, empty where the caller gave none.
    """

    url: str = ""
    filename: str | None = None
    file_id: str | None = None
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class AudioPart:
    """Sound. Shape: `data` is base64, `audio_format` a file's suffix such as `wav`."""

    data: str
    audio_format: str
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ReasoningPart:
    """What a model thought.

    Shape: `signature` may hold all of it encrypted; of a redacted part it is all there is. `id` is its item's, where
    the format has one.
    """

    text: str
    signature: Signature | None = None
    is_redacted: bool = False
    id: str | None = None
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ToolCallPart:
    """A call of a function that the model asks for. Shape: `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str
    signature: Signature | None = None
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ToolResultPart:
    """What a call came to. Shape: `parts` are text, images, files or opaque; it stands alone in a `tool` message."""

    call_id: str
    parts: tuple[Part, ...]
    is_error: bool = False
    extra: Passthrough | None = None

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True, repr=False)
class RefusalPart:
    """The model's words for why it does not answer."""

    text: str
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class OpaquePart:
    """A part that only its own format knows.

    Shape: `wire` is the object as it came; `slot` is the field of the format's message in which it stands.
    """

    format: WireFormat
    wire: Mapping[str, Any]
    slot: str = "content"


Part = (
    TextPart
    | ImagePart
    | FilePart
    | AudioPart
    | ReasoningPart
    | ToolCallPart
    | ToolResultPart
    | RefusalPart
    | OpaquePart
)


def text_of(parts: Iterable[Part]) -> str:
    """Return the text of an answer or a message, its other parts left out."""
    return "".join([part.text for part in parts if isinstance(part, TextPart)])


@dataclass(frozen=True, slots=True, init=False, repr=False)
class ChatMessage:
    """One message: its parts in order.

    Shape: `content` is text, or parts; a message without any, such as an empty turn of the assistant, has no parts.
    """

    role: Role
    parts: tuple[Part, ...]
    extra: Passthrough | None

    def __init__(
        self, role: Role, content: str | Iterable[Part] | None = None, *, extra: Passthrough | None = None
    ) -> None:
        object.__setattr__(self, "role", role)
        object.__setattr__(self, "parts", (TextPart(content),) if isinstance(content, str) else tuple(content or ()))
        object.__setattr__(self, "extra", extra)

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True, repr=False)
class Tool:
    """A function that the model may call.

    Shape: `parameters` is a JSON Schema, None where the caller gave none; `strict` asks that calls keep to it.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None
    extra: Passthrough | None = None


@dataclass(frozen=True, slots=True, repr=False)
class OpaqueTool:
    """A tool that only its own format knows, such as one that the provider runs. Shape: `wire` as it came."""

    format: WireFormat
    wire: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model calls tools. Shape: `name` is set for the mode `tool`, which demands that function."""

    mode: ToolMode
    name: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class OutputFormat:
    """The form that the answer is to have. Shape: `schema` is a JSON Schema, set for the kind `json_schema`."""

    kind: OutputKind
    schema: Mapping[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How much the model is to think. Units: `budget_tokens` in tokens. None: not given."""

    effort: Effort | None = None
    budget_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class SamplingParam:
    """What holds of one sampling parameter: JSON type, least value, whether the ledger has it, name in OTel."""

    kind: Literal["number", "integer", "boolean", "strings"]
    least: int | None = None
    is_recorded: bool = True
    otel_name: str | None = None


def _param(kind: Literal["number", "integer", "boolean", "strings"], **facts: Any) -> Any:
    return field(default=None, metadata={"param": SamplingParam(kind, **facts)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the answer is drawn; None: not given, the provider decides. The one list of these parameters."""

    temperature: float | None = _param("number", otel_name="gen_ai.request.temperature")
    top_p: float | None = _param("number", otel_name="gen_ai.request.top_p")
    top_k: int | None = _param("integer", otel_name="gen_ai.request.top_k")
    max_tokens: int | None = _param("integer", least=1, otel_name="gen_ai.request.max_tokens")
    stop: tuple[str, ...] | None = _param("strings", is_recorded=False)
    seed: int | None = _param("integer", otel_name="gen_ai.request.seed")
    presence_penalty: float | None = _param("number", otel_name="gen_ai.request.presence_penalty")
    frequency_penalty: float | None = _param("number", otel_name="gen_ai.request.frequency_penalty")
    n: int | None = _param("integer", least=1, otel_name="gen_ai.request.choice.count")
    logprobs: bool | None = _param("boolean")
    top_logprobs: int | None = _param("integer", least=0)

    def given(self) -> dict[str, Any]:
        """Return the parameters that are set, by their canonical names."""
        return {name: value for name in SAMPLING_PARAMS if (value := getattr(self, name)) is not None}


SAMPLING_PARAMS: Mapping[str, SamplingParam] = {one.name: one.metadata["param"] for one in fields(Sampling)}
NO_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChatRequest:
    """One chat as the caller asked for it. None means: not given, the provider decides.

    Shape: `extra` are the parameters that only the caller's format has; `via` the hubs that the request came through.
    Units: `size_bytes` is the size of the body that said all this; 0 where it is small, or there was none.
    """

    messages: tuple[ChatMessage, ...]
    model_name: str = ""
    sampling: Sampling = NO_SAMPLING
    tools: tuple[Tool | OpaqueTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output_format: OutputFormat | None = None
    reasoning: Reasoning | None = None
    user: str | None = None
    is_stream: bool = False
    extra: Passthrough | None = None
    size_bytes: int = 0
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens one chat used.

    Units: tokens. `cached_tokens` and `cache_write_tokens` are part of `prompt_tokens`, `reasoning_tokens` of
    `completion_tokens`; None where the provider does not tell.
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
    """One answer of the model: its parts in order.

    Shape: `finish_reason` is canonical, None while the answer is not whole; `native_finish_reason` the provider's word.
    """

    index: int = 0
    parts: tuple[Part, ...] = ()
    finish_reason: FinishReason | None = "stop"
    native_finish_reason: str | None = None
    extra: Passthrough | None = None

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ChatResponse:
    """A whole answer.

    Shape: `model_name` as the provider reports it; `upstream_id` the provider's id of the answer; `dropped_params` the
    request's parameters that this provider cannot take, by their canonical names.
    """

    choices: tuple[Choice, ...]
    model_name: str = ""
    usage: Usage | None = None
    upstream_id: str | None = None
    dropped_params: tuple[str, ...] = ()
    extra: Passthrough | None = None

    @property
    def content(self) -> str:
        """The text of the first choice."""
        return self.choices[0].text if self.choices else ""

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.choices[0].finish_reason if self.choices else None


# A stream is made of these. They are not frozen, as that would more than double the price of making one; nobody
# changes them. `choice` is a choice's index, `part` the place of a part among the parts of its choice, from 0.


@dataclass(slots=True, repr=False)
class ReplyStarted:
    """The head of an answer; a later one adds what an earlier one left out."""

    model_name: str | None = None
    upstream_id: str | None = None
    extra: Passthrough | None = None


@dataclass(slots=True, repr=False)
class PartStarted:
    """A part begins. Shape: `value` is the part as far as it is known: its text or arguments are still to come."""

    choice: int
    part: int
    value: Part


@dataclass(slots=True, repr=False)
class PartDelta:
    """More of a part's text, or of a call's arguments."""

    choice: int
    part: int
    text: str


@dataclass(slots=True, repr=False)
class PartSigned:
    """The signature of a part, which may come long after its text."""

    choice: int
    part: int
    signature: Signature


@dataclass(slots=True, repr=False)
class ChoiceFinished:
    choice: int
    finish_reason: FinishReason
    native_finish_reason: str | None = None


@dataclass(slots=True, repr=False)
class ExtraDelta:
    """What a frame says of a choice, or of the answer (None), beyond the value types, such as log probabilities.

    Shape: `part` is the place of the part that it is said of, None where it is the choice as a whole.
    """

    choice: int | None
    extra: Passthrough
    part: int | None = None


@dataclass(slots=True, repr=False)
class UsageTold:
    """The total so far; it replaces an earlier one."""

    usage: Usage


Delta = ReplyStarted | PartStarted | PartDelta | PartSigned | ChoiceFinished | ExtraDelta | UsageTold


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
