"""What Anthropic's Messages API takes, as far as the hub looks at it; what else a body holds is passed on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, with_config
from typing_extensions import TypedDict

OPEN = with_config(ConfigDict(extra="allow", strict=True))
MAX_MODEL_NAME_CHARS = 512


@OPEN
class TextBlock(TypedDict):
    type: Literal["text"]
    text: str


@OPEN
class Base64Source(TypedDict):
    type: Literal["base64"]
    media_type: str
    data: str


@OPEN
class UrlSource(TypedDict):
    type: Literal["url"]
    url: str


@OPEN
class TextSource(TypedDict):
    type: Literal["text"]
    data: str


@OPEN
class OtherSource(TypedDict):
    """A file that lies at Anthropic, or what else only its API knows: for providers that speak it."""

    type: str


_TAG_OF_SOURCE = {"base64": "base64", "url": "url", "text": "text"}


def _source_tag(value: Any) -> str:
    return _known_type(value, _TAG_OF_SOURCE)


def _known_type(value: Any, tags: dict[str, str]) -> str:
    type_ = value.get("type") if isinstance(value, dict) else None
    return tags.get(type_, "other") if isinstance(type_, str) else "other"


BlockSource = Annotated[
    Annotated[Base64Source, Tag("base64")]
    | Annotated[UrlSource, Tag("url")]
    | Annotated[TextSource, Tag("text")]
    | Annotated[OtherSource, Tag("other")],
    Discriminator(_source_tag),
]


@OPEN
class SourceBlock(TypedDict, total=False):
    """An image or a document."""

    type: Required[Literal["image", "document"]]
    source: Required[BlockSource]
    title: str | None


@OPEN
class ThinkingBlock(TypedDict, total=False):
    type: Required[Literal["thinking"]]
    thinking: Required[str]
    signature: str | None


@OPEN
class RedactedThinkingBlock(TypedDict):
    type: Literal["redacted_thinking"]
    data: str


@OPEN
class ToolUseBlock(TypedDict):
    type: Literal["tool_use"]
    id: str
    name: Annotated[str, Field(min_length=1)]
    input: dict[str, Any]


@OPEN
class OtherBlock(TypedDict):
    """A block that is passed on as it is, to providers that speak this API."""

    type: str


_TAG_OF_BLOCK = {
    "text": "text",
    "image": "source",
    "document": "source",
    "thinking": "thinking",
    "redacted_thinking": "redacted_thinking",
    "tool_use": "tool_use",
    "tool_result": "tool_result",
}


def _block_tag(value: Any) -> str:
    return _known_type(value, _TAG_OF_BLOCK)


def _inner_block_tag(value: Any) -> str:
    tag = _block_tag(value)
    return tag if tag in ("text", "source") else "other"


InnerBlock = Annotated[
    Annotated[TextBlock, Tag("text")] | Annotated[SourceBlock, Tag("source")] | Annotated[OtherBlock, Tag("other")],
    Discriminator(_inner_block_tag),
]


@OPEN
class ToolResultBlock(TypedDict, total=False):
    type: Required[Literal["tool_result"]]
    tool_use_id: Required[str]
    content: str | list[InnerBlock] | None
    is_error: bool | None


Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[SourceBlock, Tag("source")]
    | Annotated[ThinkingBlock, Tag("thinking")]
    | Annotated[RedactedThinkingBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[OtherBlock, Tag("other")],
    Discriminator(_block_tag),
]


@OPEN
class MessagesMessage(TypedDict):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


@OPEN
class ClientTool(TypedDict, total=False):
    """A tool that the caller runs."""

    type: Literal["custom"] | None
    name: Required[Annotated[str, Field(min_length=1)]]
    description: str | None
    input_schema: Required[Annotated[dict[str, Any], Field(description="A JSON Schema.")]]
    strict: bool | None


@OPEN
class ServerTool(TypedDict):
    """A tool that Anthropic defines or runs, for providers that speak this API."""

    type: str


def _tool_tag(value: Any) -> str:
    return "client" if isinstance(value, dict) and value.get("type") in (None, "custom") else "server"


ToolOfMessages = Annotated[
    Annotated[ClientTool, Tag("client")] | Annotated[ServerTool, Tag("server")], Discriminator(_tool_tag)
]


@OPEN
class MessagesToolChoice(TypedDict, total=False):
    type: Required[Literal["auto", "any", "tool", "none"]]
    name: Annotated[str, Field(description="Of the tool to use, for the type `tool`.")]
    disable_parallel_tool_use: bool | None


@OPEN
class ThinkingConfig(TypedDict, total=False):
    type: Required[str]
    budget_tokens: Annotated[int | None, Field(ge=0)]


@OPEN
class JsonOutputFormat(TypedDict, total=False):
    type: Required[Literal["json_schema"]]
    schema: Required[dict[str, Any]]


@OPEN
class OutputConfig(TypedDict, total=False):
    effort: Annotated[
        Literal["low", "medium", "high", "xhigh", "max"] | None,
        Field(description="How much effort the model puts into its answer."),
    ]
    format: Annotated[JsonOutputFormat | None, Field(description="The form that the answer is to have.")]


@OPEN
class MessagesMetadata(TypedDict, total=False):
    user_id: str | None


@OPEN
class MessagesBody(TypedDict, total=False):
    model: Annotated[str | None, Field(max_length=MAX_MODEL_NAME_CHARS)]
    messages: Required[Annotated[list[MessagesMessage], Field(min_length=1)]]
    max_tokens: Annotated[int | None, Field(ge=1, description="How long the answer may be, thoughts included.")]
    system: Annotated[str | list[TextBlock] | None, Field(description="What the model is told first.")]
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop_sequences: list[str] | None
    tools: list[ToolOfMessages] | None
    tool_choice: MessagesToolChoice | None
    thinking: Annotated[ThinkingConfig | None, Field(description="Whether the model thinks first, and how much.")]
    output_config: OutputConfig | None
    metadata: MessagesMetadata | None
    stream: Annotated[bool | None, Field(description="Whether the answer comes as server-sent events.")]


MESSAGES_BODY: TypeAdapter[Any] = TypeAdapter(MessagesBody)
