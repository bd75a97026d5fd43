"""OpenAI's chat completions, asked and served, and asked of every server that speaks them.

Its messages, answers and streams lie in modules of their own.
Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast, get_args

from providers.types import (
    SAMPLING_PARAMS,
    ChatRequest,
    Effort,
    JSONObject,
    OpaqueTool,
    OutputFormat,
    OutputKind,
    Passthrough,
    Reasoning,
    Sampling,
    Tool,
    ToolChoice,
    ToolMode,
)
from providers.wire.codec import EncodedRequest
from providers.wire.efforts import effort_of_budget
from providers.wire.foreign import NOTHING, check_foreign_params, foreign_names, own_fields, unsupported
from providers.wire.json_access import object_or_empty, text_or_none
from providers.wire.openai_chat_answers import decode_reply, encode_reply
from providers.wire.openai_chat_messages import FORMAT, TARGET, decode_messages, encode_messages, passthrough, rest_of
from providers.wire.openai_chat_schema import CHAT_BODY, CHAT_WORDS
from providers.wire.openai_chat_stream import ChatStreamDecoder, ChatStreamEncoder
from providers.wire.openai_errors import decode_error
from providers.wire.validation import BadRequestError, check_body

__all__ = [
    "ChatStreamDecoder",
    "ChatStreamEncoder",
    "decode_error",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
    "parse_request",
    "wants_usage",
]

LengthParam = Literal["max_tokens", "max_completion_tokens"]

NEWER_LENGTH_PARAM: LengthParam = "max_completion_tokens"
TOOL_MODES: Mapping[str, ToolMode] = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
EFFORTS = frozenset(get_args(Effort))

_TYPED = frozenset(
    {
        *SAMPLING_PARAMS, NEWER_LENGTH_PARAM, "messages", "model", "parallel_tool_calls", "reasoning_effort",
        "response_format", "stream", "stream_options", "tool_choice", "tools", "user",
    }
)  # fmt: skip
_TOOL_PARAMS = ("tool_choice", "parallel_tool_calls")
_FUNCTION_KEYS = frozenset({"name", "description", "parameters", "strict"})
_SCHEMA_KEYS = frozenset({"name", "description", "schema", "strict"})


def decode_request(body: JSONObject) -> ChatRequest:
    """Translate a body.

    Errors: BadRequestError with the field's path.
    """
    if body.get("messages") is None:
        raise BadRequestError("`messages` is missing.", param="messages", code="missing_parameter")
    check_body(CHAT_BODY, body, CHAT_WORDS)
    return parse_request(body)


def wants_usage(body: JSONObject) -> bool:
    """Whether a stream is to end with the tokens that were used."""
    return bool(object_or_empty(body.get("stream_options")).get("include_usage"))


def parse_request(body: JSONObject) -> ChatRequest:
    """Translate a body that keeps to the schema."""
    fields = {name: body.get(name) for name in SAMPLING_PARAMS}
    stop = fields["stop"]
    fields["stop"] = ((stop,) if isinstance(stop, str) else tuple(stop)) if stop else None
    fields["max_tokens"] = body.get(NEWER_LENGTH_PARAM) or body.get("max_tokens")
    return ChatRequest(
        messages=decode_messages(body["messages"]),
        model_name=body.get("model") or "",
        sampling=Sampling(**fields),
        tools=tuple([_decode_tool(tool) for tool in body.get("tools") or ()]),
        tool_choice=_find_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        output_format=_find_output_format(body.get("response_format")),
        reasoning=_find_reasoning(body.get("reasoning_effort")),
        user=body.get("user"),
        is_stream=bool(body.get("stream")),
        extra=_decode_extra(body),
    )


def _decode_extra(body: JSONObject) -> Passthrough | None:
    """Return what the value types do not have, and the name that the caller has for the length."""
    fields = rest_of(body, _TYPED)
    if options := rest_of(body.get("stream_options") or NOTHING, ("include_usage",)):
        fields["stream_options"] = options
    known = {
        NEWER_LENGTH_PARAM: None,
        "tool_choice": _find_tool_choice(body.get("tool_choice")),
        "response_format": _find_output_format(body.get("response_format")),
        "reasoning_effort": _find_reasoning(body.get("reasoning_effort")),
    }
    unread = {name: body[name] for name, value in known.items() if value is None and body.get(name) is not None}
    return passthrough(fields, unread)


def _decode_tool(tool: JSONObject) -> Tool | OpaqueTool:
    if tool.get("type") != "function":
        return OpaqueTool(FORMAT, tool)
    function = tool["function"]
    of_function = rest_of(function, _FUNCTION_KEYS)
    return Tool(
        function["name"],
        function.get("description"),
        function.get("parameters"),
        function.get("strict"),
        passthrough(rest_of(tool, ("type", "function")), {"function": of_function} if of_function else {}),
    )


def _find_tool_choice(choice: Any) -> ToolChoice | None:
    """Return the choice, None for one that only this format knows."""
    if isinstance(choice, str):
        return ToolChoice(TOOL_MODES[choice]) if choice in TOOL_MODES else None
    wire = object_or_empty(choice)
    name = text_or_none(object_or_empty(wire.get("function")).get("name"))
    return ToolChoice("tool", name) if wire.get("type") == "function" and name else None


def _find_output_format(form: JSONObject | None) -> OutputFormat | None:
    """Return the form of the answer, None for one that only this format knows."""
    wire = form or NOTHING
    kind, schema = wire.get("type"), object_or_empty(wire.get("json_schema"))
    if kind in ("text", "json_object") and wire.keys() <= {"type", "schema"}:
        return OutputFormat(cast("OutputKind", kind), wire.get("schema"))
    if kind != "json_schema" or wire.keys() != {"type", "json_schema"} or not schema.keys() <= _SCHEMA_KEYS:
        return None
    return OutputFormat("json_schema", *(schema.get(key) for key in ("schema", "name", "description", "strict")))


def _find_reasoning(effort: str | None) -> Reasoning | None:
    return Reasoning(cast("Effort", effort)) if effort in EFFORTS else None


def encode_request(
    request: ChatRequest, *, stream: bool, length_param: LengthParam = NEWER_LENGTH_PARAM
) -> EncodedRequest:
    """Translate a request; one that came in this format goes out with all that it holds.

    Shape: `length_param` is the name that the length goes by, unless the caller used the newer one.
    Errors: UnsupportedRequestError for what cannot be said.
    """
    check_foreign_params(request, FORMAT, target=TARGET)
    own = dict(own_fields(request.extra, FORMAT))
    stream_options = own.pop("stream_options", NOTHING)
    if own.pop(NEWER_LENGTH_PARAM, None) is not None:
        length_param = NEWER_LENGTH_PARAM
    body: JSONObject = {"model": request.model_name, "messages": encode_messages(request.messages)}
    body |= _encode_sampling(request.sampling, length_param)
    body |= _encode_tools(request, own)
    body |= _encode_settings(request)
    body |= own
    if stream:
        body |= {"stream": True, "stream_options": {**stream_options, "include_usage": True}}
    return EncodedRequest(body, tuple(sorted(set(_dropped_params(request)))))


def _encode_sampling(sampling: Sampling, length_param: LengthParam) -> JSONObject:
    fields: JSONObject = sampling.given()
    if "stop" in fields:
        fields["stop"] = list(fields["stop"])
    if "max_tokens" in fields:
        fields[length_param] = fields.pop("max_tokens")
    return fields


def _encode_tools(request: ChatRequest, own: JSONObject) -> JSONObject:
    """Return the tools and what is said of them; without any, the latter would be an error."""
    own_choice = own.pop("tool_choice", None)
    if not request.tools:
        return {}
    choice = own_choice if request.tool_choice is None else _encode_tool_choice(request.tool_choice)
    told = {"tool_choice": choice, "parallel_tool_calls": request.parallel_tool_calls}
    return {
        "tools": [_encode_tool(tool) for tool in request.tools],
        **{name: value for name, value in told.items() if value is not None},
    }


def _encode_tool(tool: Tool | OpaqueTool) -> JSONObject:
    if isinstance(tool, OpaqueTool):
        if tool.format is not FORMAT:
            raise unsupported("tools", TARGET)
        return dict(tool.wire)
    own = own_fields(tool.extra, FORMAT)
    fields = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    function = {"name": tool.name, **{name: value for name, value in fields.items() if value is not None}}
    return {**own, "type": "function", "function": {**function, **object_or_empty(own.get("function"))}}


def _encode_tool_choice(choice: ToolChoice) -> str | JSONObject:
    return {"type": "function", "function": {"name": choice.name}} if choice.mode == "tool" else choice.mode


def _encode_settings(request: ChatRequest) -> JSONObject:
    form, reasoning = request.output_format, request.reasoning or Reasoning()
    effort = reasoning.effort
    if effort is None and reasoning.budget_tokens is not None:
        effort = effort_of_budget(reasoning.budget_tokens)
    settings = {
        "response_format": _encode_output_format(form) if form else None,
        "reasoning_effort": effort,
        "user": request.user,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _encode_output_format(form: OutputFormat) -> JSONObject:
    """Return the form of the answer; a schema of no name, which other formats need none for, gets one."""
    if form.kind != "json_schema":
        return {"type": form.kind} | ({} if form.schema is None else {"schema": form.schema})
    fields = {"description": form.description, "strict": form.strict, "schema": form.schema}
    schema = {"name": form.name or "response", **{name: value for name, value in fields.items() if value is not None}}
    return {"type": "json_schema", "json_schema": schema}


def _dropped_params(request: ChatRequest) -> Iterator[str]:
    if not request.tools:
        yield from (name for name in _TOOL_PARAMS if getattr(request, name) is not None)
        if own_fields(request.extra, FORMAT).get("tool_choice") is not None:
            yield "tool_choice"
    yield from (name for name in foreign_names(request, FORMAT) if name != "messages.detail")
