"""What OpenAI's chat completions take, as far as the hub looks at it; what else a body holds is passed on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Required

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, with_config
from typing_extensions import TypedDict

from providers.wire.validation import FaultWords

OPEN = with_config(ConfigDict(extra="allow", strict=True))
MAX_MODEL_NAME_CHARS = 512
ROLES = ("assistant", "developer", "function", "system", "tool", "user")


@OPEN
class ChatTextContent(TypedDict):
    type: Literal["text"]
    text: str


@OPEN
class ChatImageUrl(TypedDict, total=False):
    url: Required[Annotated[str, Field(description="An http(s) URL, or a `data:` URL.")]]
    detail: Annotated[str | None, Field(description="`low`, `high`, `auto` or `original`.")]


@OPEN
class ChatImageContent(TypedDict):
    type: Literal["image_url"]
    image_url: ChatImageUrl


@OPEN
class ChatOtherContent(TypedDict):
    """A part that is passed on as it is, such as `input_audio` or `file`."""

    type: str


def _content_tag(value: Any) -> str:
    type_ = value.get("type") if isinstance(value, dict) else None
    return type_ if type_ == "text" or type_ == "image_url" else "other"


ChatContent = Annotated[
    Annotated[ChatTextContent, Tag("text")]
    | Annotated[ChatImageContent, Tag("image_url")]
    | Annotated[ChatOtherContent, Tag("other")],
    Discriminator(_content_tag),
]


@OPEN
class ChatCalledFunction(TypedDict):
    name: str
    arguments: Annotated[str, Field(description="JSON, as the model wrote it.")]


@OPEN
class ChatFunctionCall(TypedDict):
    id: str
    type: Literal["function"]
    function: ChatCalledFunction


@OPEN
class ChatOtherCall(TypedDict):
    """A call that is passed on as it is, such as one of a `custom` tool."""

    id: str
    type: str


def _call_tag(value: Any) -> str:
    return "of a function" if isinstance(value, dict) and value.get("type") == "function" else "other"


ChatCall = Annotated[
    Annotated[ChatFunctionCall, Tag("of a function")] | Annotated[ChatOtherCall, Tag("other")], Discriminator(_call_tag)
]


TextOrContent = Annotated[str | list[ChatContent], Field(union_mode="left_to_right")]


@OPEN
class ChatTurn(TypedDict, total=False):
    role: Required[Literal["assistant", "developer", "function", "system", "tool", "user"]]
    content: TextOrContent | None
    tool_calls: list[ChatCall] | None
    tool_call_id: Annotated[str | None, Field(description="Of a `tool` message: which call this is the result of.")]


@OPEN
class ChatFunction(TypedDict, total=False):
    name: Required[str]
    description: str | None
    parameters: Annotated[dict[str, Any] | None, Field(description="A JSON Schema.")]
    strict: bool | None


@OPEN
class ChatFunctionTool(TypedDict):
    type: Literal["function"]
    function: ChatFunction


@OPEN
class ChatOtherTool(TypedDict):
    """A tool that is passed on as it is, such as a `custom` one."""


ChatTool = Annotated[
    Annotated[ChatFunctionTool, Tag("of a function")] | Annotated[ChatOtherTool, Tag("other")], Discriminator(_call_tag)
]


@OPEN
class ChatStreamOptions(TypedDict, total=False):
    include_usage: Annotated[Any, Field(description="Whether the last chunk tells the tokens that were used.")]


@OPEN
class ChatCompletionsBody(TypedDict, total=False):
    messages: Required[Annotated[list[ChatTurn], Field(min_length=1)]]
    model: Annotated[str | None, Field(max_length=MAX_MODEL_NAME_CHARS)]
    temperature: float | None
    top_p: float | None
    top_k: int | None
    max_tokens: Annotated[int | None, Field(ge=1)]
    max_completion_tokens: Annotated[int | None, Field(ge=1, description="The newer name of `max_tokens`.")]
    stop: str | list[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    n: Annotated[int | None, Field(ge=1, description="How many answers; several from few providers only.")]
    logprobs: bool | None
    top_logprobs: Annotated[int | None, Field(ge=0)]
    tools: list[ChatTool] | None
    tool_choice: Annotated[
        str | dict[str, Any] | None, Field(description="`auto`, `none`, `required`, or an object that names a tool.")
    ]
    parallel_tool_calls: bool | None
    response_format: dict[str, Any] | None
    reasoning_effort: Annotated[
        str | None, Field(description="`none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.")
    ]
    user: str | None
    stream: bool | None
    stream_options: ChatStreamOptions | None


CHAT_BODY: TypeAdapter[Any] = TypeAdapter(ChatCompletionsBody)

_CALL = "must be an object with `id`, `type` and `function`."
_CALLED = "must be an object with `name` and `arguments`, both strings."
CHAT_WORDS: FaultWords = {
    "messages": "`{path}` must be a list with at least one message.",
    "messages[].role": f"`{{path}}` must be one of {', '.join(ROLES)}.",
    "messages[].content": "`{path}` must be a string or a list of parts, not {given}.",
    "messages[].content[]": "`{path}` must be an object with a `type`.",
    "messages[].content[].type": "`{parent}` must be an object with a `type`.",
    "messages[].content[].text": "`{path}` must be a string.",
    "messages[].content[].image_url": "`{path}.url` must be a string.",
    "messages[].content[].image_url.url": "`{path}` must be a string.",
    "messages[].tool_call_id": "`{path}` must be a string.",
    "messages[].tool_calls": "`{path}` must be a list.",
    "messages[].tool_calls[]": f"`{{path}}` {_CALL}",
    "messages[].tool_calls[].id": f"`{{parent}}` {_CALL}",
    "messages[].tool_calls[].type": f"`{{parent}}` {_CALL}",
    "messages[].tool_calls[].function": f"`{{path}}` {_CALLED}",
    "messages[].tool_calls[].function.name": f"`{{parent}}` {_CALLED}",
    "messages[].tool_calls[].function.arguments": f"`{{parent}}` {_CALLED}",
    "stop": "`{path}` must be a string or a list of strings.",
    "stop[]": "`{parent}` must be a string or a list of strings.",
    "tools": "`{path}` must be a list of objects.",
    "tools[]": "`{parent}` must be a list of objects.",
    "tool_choice": "`{path}` must be a string or an object.",
}
