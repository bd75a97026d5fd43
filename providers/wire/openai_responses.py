"""OpenAI's Responses API, asked and served; its answers and streams lie in modules of their own.

Source: https://platform.openai.com/docs/api-reference/responses, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from providers.types import (
    ChatMessage,
    ChatRequest,
    JSONObject,
    OpaquePart,
    OpaqueTool,
    OutputFormat,
    Part,
    Passthrough,
    Reasoning,
    Role,
    Sampling,
    Tool,
    ToolChoice,
    ToolResultPart,
    WireFormat,
)
from providers.wire.codec import EncodedRequest
from providers.wire.foreign import NOTHING, check_foreign_params, foreign_names, unsupported
from providers.wire.json_access import (
    object_or_empty,
)
from providers.wire.openai_errors import decode_error
from providers.wire.openai_responses_answers import decode_reply, encode_reply
from providers.wire.openai_responses_items import (
    FORMAT,
    SHARED_WITH_CHAT,
    TARGET,
    TYPED,
    decode_contents,
    decode_output_item,
    decode_output_message,
    encode_items,
    encode_text_format,
    encode_tool,
    encode_tool_choice,
    find_effort,
    passed_on,
    rest_of,
    split_instructions,
)
from providers.wire.openai_responses_schema import RESPONSES_BODY
from providers.wire.openai_responses_stream import ResponsesStreamDecoder, ResponsesStreamEncoder
from providers.wire.validation import check_body

__all__ = [
    "ResponsesStreamDecoder",
    "ResponsesStreamEncoder",
    "decode_error",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
]

DROPPED_SAMPLING = ("top_k", "stop", "seed", "presence_penalty", "frequency_penalty")
LOGPROBS_WANTED = "message.output_text.logprobs"
SIGNATURE_WANTED = "reasoning.encrypted_content"
_TOOL_KEYS = frozenset({"description", "name", "parameters", "strict", "type"})


def decode_request(body: JSONObject) -> ChatRequest:
    """Translate a body; the instructions become the first message.

    Errors: BadRequestError with the field's path.
    """
    check_body(RESPONSES_BODY, body)
    instructions = body.get("instructions")
    choice, include = body.get("tool_choice"), body.get("include") or []
    text = body.get("text") or NOTHING
    return ChatRequest(
        messages=(
            *((ChatMessage("system", instructions),) if instructions else ()),
            *_decode_input(body["input"]),
        ),
        model_name=body.get("model") or "",
        sampling=Sampling(
            temperature=body.get("temperature"),
            top_p=body.get("top_p"),
            max_tokens=body.get("max_output_tokens"),
            logprobs=True if LOGPROBS_WANTED in include else None,
            top_logprobs=body.get("top_logprobs"),
        ),
        tools=tuple([_decode_tool(tool) for tool in body.get("tools") or ()]),
        tool_choice=_find_tool_choice(choice),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        output_format=_decode_text_format(text.get("format")),
        reasoning=_decode_reasoning_settings(body.get("reasoning") or NOTHING),
        user=body.get("user"),
        is_stream=bool(body.get("stream")),
        extra=_decode_extra(body),
    )


def _decode_extra(body: JSONObject) -> Passthrough | None:
    """Return the fields that the value types do not have, `text.verbosity` by the name it has elsewhere."""
    fields = {key: value for key, value in body.items() if key not in TYPED}
    if "include" in fields:
        fields["include"] = [one for one in fields["include"] or () if one != LOGPROBS_WANTED]
    if _find_tool_choice(fields.get("tool_choice")) is not None or fields.get("tool_choice") is None:
        fields.pop("tool_choice", None)
    settings = dict(fields.pop("text", None) or NOTHING)
    settings.pop("format", None)
    if (verbosity := settings.pop("verbosity", None)) is not None:
        fields["verbosity"] = verbosity
    thinking = dict(fields.pop("reasoning", None) or NOTHING)
    thinking.pop("effort", None)
    rest = {"text": settings, "reasoning": thinking}
    fields |= {key: value for key, value in rest.items() if value}
    if not fields.get("include", True):
        del fields["include"]
    return Passthrough(FORMAT, fields) if fields else None


def _decode_input(value: str | list[JSONObject]) -> Iterator[ChatMessage]:
    """Translate the items; neighbours of the assistant's side are one message."""
    if isinstance(value, str):
        yield ChatMessage("user", value)
        return
    turn: list[Part] = []
    for item in value:
        role, parts, extra = _decode_item(item)
        if role == "assistant":
            turn += parts
            continue
        if turn:
            yield ChatMessage("assistant", turn)
            turn = []
        yield ChatMessage(role, parts, extra=extra)
    if turn:
        yield ChatMessage("assistant", turn)


def _decode_item(item: JSONObject) -> tuple[Role, list[Part], Passthrough | None]:
    type_ = item.get("type") or ("message" if "role" in item else "item_reference")
    if type_ == "message":
        role = cast("Role", item["role"])
        if role == "assistant":
            return role, decode_output_message(item), None
        return role, decode_contents(item["content"]), rest_of(item, {"content", "id", "role", "status", "type"})
    if type_ == "function_call_output":
        rest = rest_of(item, {"call_id", "id", "output", "status", "type"})
        return "tool", [ToolResultPart(item["call_id"], tuple(decode_contents(item["output"])), extra=rest)], None
    if type_.endswith(("_output", "_response")):
        return "user", [OpaquePart(FORMAT, item, "input")], None
    return "assistant", [decode_output_item(item, "input")], None


def _decode_tool(tool: JSONObject) -> Tool | OpaqueTool:
    if tool["type"] != "function":
        return OpaqueTool(FORMAT, tool)
    rest = rest_of(tool, _TOOL_KEYS)
    return Tool(tool["name"], tool.get("description"), tool.get("parameters"), tool.get("strict"), rest)


def _find_tool_choice(choice: Any) -> ToolChoice | None:
    """Return the choice, None for one that only this format knows."""
    if isinstance(choice, str):
        return ToolChoice(cast("Any", choice))
    if isinstance(choice, dict) and choice.get("type") == "function" and choice.get("name"):
        return ToolChoice("tool", choice["name"])
    return None


def _decode_text_format(format_: JSONObject | None) -> OutputFormat | None:
    if not format_:
        return None
    fields = (format_.get(name) for name in ("schema", "name", "description", "strict"))
    return OutputFormat(format_["type"], *fields)


def _decode_reasoning_settings(settings: Mapping[str, Any]) -> Reasoning | None:
    effort = settings.get("effort")
    return None if effort is None else Reasoning(effort)


def encode_request(request: ChatRequest, *, stream: bool, stateless: bool = False) -> EncodedRequest:
    """Translate a request.

    Shape: `stateless` asks the provider to store nothing, and to send what it needs of its thoughts along, unless the
    caller says what is to be stored.
    Errors: UnsupportedRequestError for what cannot be said.
    """
    check_foreign_params(request, FORMAT, target=TARGET)
    if (request.sampling.n or 1) > 1:
        raise unsupported("n", TARGET)
    instructions, messages = split_instructions(request.messages)
    body: JSONObject = {"model": request.model_name, "input": encode_items(messages)}
    settings = {
        **passed_on(request.extra, stream=stream),
        "instructions": instructions,
        "max_output_tokens": request.sampling.max_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "top_logprobs": request.sampling.top_logprobs,
        "user": request.user,
        **_encode_tools(request),
    }
    body |= {key: value for key, value in settings.items() if value is not None}
    _encode_settings(body, request, stateless=stateless)
    if stream:
        body["stream"] = True
    return EncodedRequest(body, tuple(sorted(set(_dropped_params(request)))))


def _dropped_params(request: ChatRequest) -> Iterator[str]:
    yield from (name for name in DROPPED_SAMPLING if getattr(request.sampling, name) is not None)
    if not request.tools:
        yield from (name for name in ("tool_choice", "parallel_tool_calls") if getattr(request, name) is not None)
    shared = SHARED_WITH_CHAT if request.extra and request.extra.format is WireFormat.OPENAI_CHAT else frozenset()
    yield from (name for name in foreign_names(request, FORMAT) if name not in shared and name != "messages.detail")


def _encode_tools(request: ChatRequest) -> JSONObject:
    if not request.tools:
        return {}
    return {
        "tools": [encode_tool(tool) for tool in request.tools],
        "parallel_tool_calls": request.parallel_tool_calls,
        **({"tool_choice": encode_tool_choice(request.tool_choice)} if request.tool_choice else {}),
    }


def _encode_settings(body: JSONObject, request: ChatRequest, *, stateless: bool) -> None:
    """Add the settings that share an object or a list with what is passed on."""
    text = dict(object_or_empty(body.get("text")))
    if request.output_format is not None:
        text["format"] = encode_text_format(request.output_format)
    if "verbosity" in body:
        text["verbosity"] = body.pop("verbosity")
    thinking = dict(object_or_empty(body.get("reasoning")))
    if (effort := find_effort(request.reasoning)) is not None:
        thinking["effort"] = effort
    include = [LOGPROBS_WANTED] if request.sampling.logprobs else []
    if stateless and body.setdefault("store", False) is False:
        include.append(SIGNATURE_WANTED)
    told = body.get("include") or []
    include = [*told, *(one for one in include if one not in told)]
    body |= {key: value for key, value in (("text", text), ("reasoning", thinking), ("include", include)) if value}
