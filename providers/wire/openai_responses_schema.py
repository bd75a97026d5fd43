"""What OpenAI's Responses API takes, as far as the hub looks at it; what else a body holds is passed on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, with_config
from typing_extensions import TypedDict

from providers.types import Effort
from providers.wire.validation import tagged_by

OPEN = with_config(ConfigDict(extra="allow", strict=True))
MAX_MODEL_NAME_CHARS = 512


@OPEN
class ResponsesTextContent(TypedDict, total=False):
    type: Required[Literal["input_text", "output_text", "text"]]
    text: Required[str]
    annotations: list[dict[str, Any]] | None
    logprobs: list[dict[str, Any]] | None


@OPEN
class ResponsesRefusalContent(TypedDict):
    type: Literal["refusal"]
    refusal: str


@OPEN
class ResponsesImageContent(TypedDict, total=False):
    type: Required[Literal["input_image"]]
    image_url: Annotated[str | None, Field(description="An http(s) URL, or a `data:` URL.")]
    file_id: str | None
    detail: str | None


@OPEN
class ResponsesFileContent(TypedDict, total=False):
    type: Required[Literal["input_file"]]
    file_data: Annotated[str | None, Field(description="A `data:` URL.")]
    file_url: str | None
    file_id: str | None
    filename: str | None


@OPEN
class ResponsesSoundData(TypedDict):
    data: str
    format: str


@OPEN
class ResponsesAudioContent(TypedDict):
    type: Literal["input_audio"]
    input_audio: ResponsesSoundData


@OPEN
class ResponsesOtherContent(TypedDict):
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
    Annotated[ResponsesTextContent, Tag("text")]
    | Annotated[ResponsesRefusalContent, Tag("refusal")]
    | Annotated[ResponsesImageContent, Tag("image")]
    | Annotated[ResponsesFileContent, Tag("file")]
    | Annotated[ResponsesAudioContent, Tag("audio")]
    | Annotated[ResponsesOtherContent, Tag("other")],
    Discriminator(_content_tag),
]
TextOrContents = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Content], Tag("parts")],
    Discriminator(tagged_by({str: "text"}, "parts")),
]


@OPEN
class ResponsesMessageItem(TypedDict, total=False):
    type: Literal["message"] | None
    role: Required[Literal["system", "developer", "user", "assistant"]]
    content: Required[TextOrContents]
    phase: str | None


@OPEN
class ResponsesFunctionCallItem(TypedDict, total=False):
    type: Required[Literal["function_call"]]
    call_id: Required[str]
    name: Required[str]
    arguments: Required[Annotated[str, Field(description="JSON, as the model wrote it.")]]


@OPEN
class ResponsesFunctionCallOutputItem(TypedDict):
    type: Literal["function_call_output"]
    call_id: str
    output: TextOrContents


@OPEN
class ResponsesReasoningText(TypedDict):
    type: str
    text: str


@OPEN
class ResponsesReasoningItem(TypedDict, total=False):
    type: Required[Literal["reasoning"]]
    id: str | None
    summary: list[ResponsesReasoningText] | None
    content: list[ResponsesReasoningText] | None
    encrypted_content: str | None


@OPEN
class ResponsesOtherItem(TypedDict, total=False):
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
    Annotated[ResponsesMessageItem, Tag("message")]
    | Annotated[ResponsesFunctionCallItem, Tag("function_call")]
    | Annotated[ResponsesFunctionCallOutputItem, Tag("function_call_output")]
    | Annotated[ResponsesReasoningItem, Tag("reasoning")]
    | Annotated[ResponsesOtherItem, Tag("other")],
    Discriminator(_item_tag),
]


@OPEN
class ResponsesFunctionTool(TypedDict, total=False):
    type: Required[Literal["function"]]
    name: Required[str]
    description: str | None
    parameters: Annotated[dict[str, Any] | None, Field(description="A JSON Schema.")]
    strict: bool | None


@OPEN
class ResponsesOtherTool(TypedDict):
    """A tool that the provider runs itself, for providers that speak this API."""

    type: str


def _tool_tag(value: Any) -> str:
    return "function" if isinstance(value, dict) and value.get("type") == "function" else "other"


AnyTool = Annotated[
    Annotated[ResponsesFunctionTool, Tag("function")] | Annotated[ResponsesOtherTool, Tag("other")],
    Discriminator(_tool_tag),
]


@OPEN
class ResponsesNamedToolChoice(TypedDict, total=False):
    type: Required[str]
    name: str


AnyToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("mode")] | Annotated[ResponsesNamedToolChoice, Tag("named")],
    Discriminator(tagged_by({dict: "named"}, "mode")),
]


@OPEN
class ResponsesTextFormat(TypedDict, total=False):
    type: Required[Literal["text", "json_object", "json_schema"]]
    name: str
    schema: dict[str, Any]
    description: str | None
    strict: bool | None


@OPEN
class ResponsesTextSettings(TypedDict, total=False):
    format: ResponsesTextFormat | None
    verbosity: str | None


@OPEN
class ResponsesReasoningSettings(TypedDict, total=False):
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
    text: Annotated[ResponsesTextSettings | None, Field(description="The form that the answer is to have.")]
    reasoning: Annotated[ResponsesReasoningSettings | None, Field(description="How much the model is to think.")]
    include: list[str] | None
    store: bool | None
    previous_response_id: str | None
    metadata: dict[str, Any] | None
    stream: Annotated[bool | None, Field(description="Whether the answer comes as server-sent events.")]
    user: str | None


RESPONSES_BODY: TypeAdapter[Any] = TypeAdapter(ResponsesBody)
