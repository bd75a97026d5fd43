"""What OpenAI's Responses API takes, as far as the hub looks at it; what else a body holds is passed on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, with_config
from typing_extensions import TypedDict

from providers.wire.types import Effort
from providers.wire.validation import tagged_by

OPEN = with_config(ConfigDict(extra="allow", strict=True))
MAX_MODEL_NAME_CHARS = 512


@OPEN
class TextContent(TypedDict, total=False):
    type: Required[Literal["input_text", "output_text", "text"]]
    text: Required[str]
    annotations: list[dict[str, Any]] | None
    logprobs: list[dict[str, Any]] | None


@OPEN
class RefusalContent(TypedDict):
    type: Literal["refusal"]
    refusal: str


@OPEN
class ImageContent(TypedDict, total=False):
    type: Required[Literal["input_image"]]
    image_url: Annotated[str | None, Field(description="An http(s) URL, or a `data:` URL.")]
    file_id: str | None
    detail: str | None


@OPEN
class FileContent(TypedDict, total=False):
    type: Required[Literal["input_file"]]
    file_data: Annotated[str | None, Field(description="A `data:` URL.")]
    file_url: str | None
    file_id: str | None
    filename: str | None


@OPEN
class SoundData(TypedDict):
    data: str
    format: str


@OPEN
class AudioContent(TypedDict):
    type: Literal["input_audio"]
    input_audio: SoundData


@OPEN
class OtherContent(TypedDict):
    """A part that is passed on as it is, to providers that speak this API."""

    type: str


def _content_tag(value: Any) -> str:
    type_ = value.get("type") if isinstance(value, dict) else None
    return _TAG_OF_CONTENT.get(type_, "other") if isinstance(type_, str) else "other"


_TAG_OF_CONTENT = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "refusal": "refusal",
    "input_image": "image",
    "input_file": "file",
    "input_audio": "audio",
}

Content = Annotated[
    Annotated[TextContent, Tag("text")]
    | Annotated[RefusalContent, Tag("refusal")]
    | Annotated[ImageContent, Tag("image")]
    | Annotated[FileContent, Tag("file")]
    | Annotated[AudioContent, Tag("audio")]
    | Annotated[OtherContent, Tag("other")],
    Discriminator(_content_tag),
]
TextOrContents = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Content], Tag("parts")],
    Discriminator(tagged_by({str: "text"}, "parts")),
]


@OPEN
class MessageItem(TypedDict, total=False):
    type: Literal["message"] | None
    role: Required[Literal["system", "developer", "user", "assistant"]]
    content: Required[TextOrContents]
    phase: str | None


@OPEN
class FunctionCallItem(TypedDict, total=False):
    type: Required[Literal["function_call"]]
    call_id: Required[str]
    name: Required[str]
    arguments: Required[Annotated[str, Field(description="JSON, as the model wrote it.")]]


@OPEN
class FunctionCallOutputItem(TypedDict):
    type: Literal["function_call_output"]
    call_id: str
    output: TextOrContents


@OPEN
class ReasoningText(TypedDict):
    type: str
    text: str


@OPEN
class ReasoningItem(TypedDict, total=False):
    type: Required[Literal["reasoning"]]
    id: str | None
    summary: list[ReasoningText] | None
    content: list[ReasoningText] | None
    encrypted_content: str | None


@OPEN
class OtherItem(TypedDict, total=False):
    """An item that is passed on as it is, to providers that speak this API, such as a reference to a stored one."""

    type: str | None
    id: str | None


def _item_tag(value: Any) -> str:
    type_ = value.get("type") if isinstance(value, dict) else "other"
    if type_ is None:  # messages need no type, nor do references
        return "other" if value.keys() == {"id"} else "message"
    return type_ if isinstance(type_, str) and type_ in _ITEM_TAGS else "other"


_ITEM_TAGS = frozenset({"message", "function_call", "function_call_output", "reasoning"})

Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionCallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(_item_tag),
]


@OPEN
class FunctionTool(TypedDict, total=False):
    type: Required[Literal["function"]]
    name: Required[str]
    description: str | None
    parameters: Annotated[dict[str, Any] | None, Field(description="A JSON Schema.")]
    strict: bool | None


@OPEN
class OtherTool(TypedDict):
    """A tool that the provider runs itself, for providers that speak this API."""

    type: str


def _tool_tag(value: Any) -> str:
    return "function" if isinstance(value, dict) and value.get("type") == "function" else "other"


AnyTool = Annotated[
    Annotated[FunctionTool, Tag("function")] | Annotated[OtherTool, Tag("other")], Discriminator(_tool_tag)
]


@OPEN
class NamedToolChoice(TypedDict, total=False):
    type: Required[str]
    name: str


AnyToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("mode")] | Annotated[NamedToolChoice, Tag("named")],
    Discriminator(tagged_by({dict: "named"}, "mode")),
]


@OPEN
class TextFormat(TypedDict, total=False):
    type: Required[Literal["text", "json_object", "json_schema"]]
    name: str
    schema: dict[str, Any]
    description: str | None
    strict: bool | None


@OPEN
class TextSettings(TypedDict, total=False):
    format: TextFormat | None
    verbosity: str | None


@OPEN
class ReasoningSettings(TypedDict, total=False):
    effort: Effort | None


@OPEN
class ResponsesBody(TypedDict, total=False):
    model: Annotated[str | None, Field(max_length=MAX_MODEL_NAME_CHARS)]
    input: Required[
        Annotated[
            Annotated[str, Tag("text")] | Annotated[Annotated[list[Item], Field(min_length=1)], Tag("items")],
            Discriminator(tagged_by({str: "text"}, "items")),
        ]
    ]
    instructions: Annotated[str | None, Field(description="What the model is told first, as its system message.")]
    max_output_tokens: Annotated[int | None, Field(ge=1, description="How long the answer may be, thoughts included.")]
    temperature: float | None
    top_p: float | None
    top_logprobs: Annotated[int | None, Field(ge=0)]
    tools: list[AnyTool] | None
    tool_choice: AnyToolChoice | None
    parallel_tool_calls: bool | None
    text: Annotated[TextSettings | None, Field(description="The form that the answer is to have.")]
    reasoning: Annotated[ReasoningSettings | None, Field(description="How much the model is to think.")]
    include: list[str] | None
    store: bool | None
    previous_response_id: str | None
    metadata: dict[str, Any] | None
    stream: Annotated[bool | None, Field(description="Whether the answer comes as server-sent events.")]
    user: str | None


RESPONSES_BODY: TypeAdapter[Any] = TypeAdapter(ResponsesBody)
