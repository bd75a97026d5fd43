"""Ollama's native API, `/api/chat`.

Source: https://docs.ollama.com/api and its server's `api/types.go`, `server/routes.go` and `openai/openai.go`, read
2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import orjson

from providers.errors import (
    ConfigurationError,
    ContextTooLongError,
    MalformedReplyError,
    ProviderError,
    RequestRejectedError,
    UnsupportedRequestError,
    UpstreamError,
)
from providers.types import (
    ChatMessage,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceFinished,
    Delta,
    Effort,
    ExtraDelta,
    FinishReason,
    ImagePart,
    JSONObject,
    OpaqueTool,
    OutputFormat,
    Part,
    PartDelta,
    PartStarted,
    Passthrough,
    Reasoning,
    ReasoningPart,
    RefusalPart,
    ReplyStarted,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageTold,
    WireFormat,
)
from providers.wire.codec import EncodedRequest, Framing, ReplyHead, StreamDecoder, StreamEncoder
from providers.wire.data_urls import InlineData, find_inline_data
from providers.wire.efforts import effort_of_budget
from providers.wire.error_mapping import error_of_status, message_of
from providers.wire.foreign import check_foreign_params, foreign_names, own_fields, unsupported
from providers.wire.json_access import (
    count_or_none,
    find_text,
    label_or_none,
    list_at,
    object_at,
    object_or_empty,
    objects_at,
    text_at,
    text_or_none,
)
from providers.wire.rendering import compact_json

Think = bool | Literal["low", "medium", "high", "max"]

FORMAT = WireFormat.OLLAMA
TARGET = "providers of type ollama"

OPTION_OF_PARAM: Mapping[str, str] = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
THINK_OF_EFFORT: Mapping[Effort, Think] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
EFFORT_OF_THINK: Mapping[Any, Effort] = {False: "none", "low": "low", "medium": "medium", "high": "high", "max": "max"}

IMAGE_TYPE_OF_START: Mapping[str, str] = {
    "iVBOR": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
"""Images have no type on this wire: the first bytes tell, here as base64."""

NOTHING_DONE = frozenset({"load", "unload"})
CONTEXT_MESSAGE = re.compile(r"prompt is longer than the context length")
UNTHINKING_MESSAGE = re.compile(r"does not support thinking")

_REQUEST_KEYS = frozenset(
    {
        "model", "messages", "tools", "format", "options", "think", "stream", "truncate", "shift", "logprobs",
        "top_logprobs",
    }
)  # fmt: skip


# Requests


def encode_request(
    request: ChatRequest,
    *,
    stream: bool,
    num_ctx: int | None = None,
    keep_alive: str | None = None,
    think: Think | None = None,
) -> EncodedRequest:
    """Translate a request.

    An overlong prompt is to be refused: Ollama would else forget the oldest messages and answer the rest.
    Shape: `think` is for requests that do not say how much the model is to think.
    Errors: RequestRejectedError, UnsupportedRequestError for what cannot be said.
    """
    check_foreign_params(request, FORMAT, target=TARGET)
    own = own_fields(request.extra, FORMAT)
    options = {"num_ctx": num_ctx, **object_or_empty(own.get("options")), **_encode_options(request.sampling)}
    options = {key: value for key, value in options.items() if value is not None}
    body: JSONObject = {
        "keep_alive": keep_alive,
        "think": think,
        **own,
        "model": request.model_name,
        "messages": list(_encode_messages(request.messages)),
        "stream": stream,
        "truncate": False,
        "shift": False,
        "options": options or None,
        "logprobs": request.sampling.logprobs,
        "top_logprobs": request.sampling.top_logprobs,
        "tools": _encode_tools(request) or None,
        "format": _encode_format(request.output_format),
    }
    if (asked := _encode_think(request.reasoning)) is not None:
        body["think"] = asked
    body = {key: value for key, value in body.items() if value is not None}
    return EncodedRequest(body, tuple(sorted(set(_dropped_params(request)))))


def _dropped_params(request: ChatRequest) -> Iterator[str]:
    yield from (name for name in ("parallel_tool_calls", "user") if getattr(request, name) is not None)
    if request.tool_choice is not None and not request.tools:
        yield "tool_choice"
    if any(isinstance(tool, Tool) and tool.strict for tool in request.tools):
        yield "tools.strict"
    if any(isinstance(part, ToolResultPart) and part.is_error for one in request.messages for part in one.parts):
        yield "messages.is_error"
    yield from foreign_names(request, FORMAT)


def _encode_options(sampling: Sampling) -> JSONObject:
    if sampling.n is not None and sampling.n > 1:
        raise unsupported("n", TARGET)
    options = {OPTION_OF_PARAM[name]: value for name, value in sampling.given().items() if name in OPTION_OF_PARAM}
    if "stop" in options:
        options["stop"] = list(options["stop"])
    return options


def _encode_think(reasoning: Reasoning | None) -> Think | None:
    if reasoning is None:
        return None
    effort = reasoning.effort
    if effort is None and reasoning.budget_tokens is not None:
        effort = effort_of_budget(reasoning.budget_tokens)
    return None if effort is None else THINK_OF_EFFORT[effort]


def _encode_format(form: OutputFormat | None) -> str | Mapping[str, Any] | None:
    if form is None or form.kind == "text":
        return None
    return "json" if form.schema is None else form.schema


def _encode_tools(request: ChatRequest) -> list[JSONObject]:
    """Return the tools, none where none is to be called: Ollama has no other way to say so.

    Errors: UnsupportedRequestError where one must be called.
    """
    mode = request.tool_choice.mode if request.tool_choice is not None and request.tools else "auto"
    if mode in ("required", "tool"):
        raise unsupported("tool_choice", TARGET)
    return [] if mode == "none" else [_encode_tool(tool) for tool in request.tools]


def _encode_tool(tool: Tool | OpaqueTool) -> JSONObject:
    if isinstance(tool, OpaqueTool):
        if tool.format is not FORMAT:
            raise unsupported("tools", TARGET)
        return dict(tool.wire)
    function: JSONObject = {"name": tool.name, "parameters": tool.parameters or {"type": "object", "properties": {}}}
    if tool.description is not None:
        function["description"] = tool.description
    return {**own_fields(tool.extra, FORMAT), "type": "function", "function": function}


def _encode_messages(messages: Iterable[ChatMessage]) -> Iterator[JSONObject]:
    """Yield the messages that say something.

    Errors: RequestRejectedError when none but instructions does: Ollama would load the model and answer nothing.
    """
    tool_names: dict[str, str] = {}
    has_turn = False
    for message in messages:
        if message.role == "tool":
            for part in message.parts:
                if isinstance(part, ToolResultPart):
                    has_turn = True
                    yield _encode_result(part, tool_names.get(part.call_id))
            continue
        wire = _encode_message(message)
        if len(wire) == 2 and not wire["content"].strip():
            continue
        tool_names.update((part.id, part.name) for part in message.parts if isinstance(part, ToolCallPart))
        has_turn |= wire["role"] != "system"
        yield wire
    if not has_turn:
        raise RequestRejectedError(f"{TARGET.capitalize()} need at least one message of the user.", param="messages")


def _encode_message(message: ChatMessage) -> JSONObject:
    role = "system" if message.role == "developer" else message.role
    wire: JSONObject = {**own_fields(message.extra, FORMAT), "role": role}
    wire["content"] = _joined_text(message.parts, separator="\n\n" if role == "system" else "")
    thoughts = [part for part in message.parts if isinstance(part, ReasoningPart)]
    if thinking := "".join([thought.text for thought in thoughts if thought.signature is None]):
        wire["thinking"] = thinking  # what is signed is another provider's, to be read by its models alone
    if images := [_encode_image(part, role) for part in message.parts if isinstance(part, ImagePart)]:
        wire["images"] = images
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    if calls:
        wire["tool_calls"] = [_encode_call(call, number) for number, call in enumerate(calls)]
    _check_content(message.parts)
    return wire


def _joined_text(parts: Iterable[Part], *, separator: str = "") -> str:
    """Join the texts of a message; instructions of several parts stay apart."""
    return separator.join([part.text for part in parts if isinstance(part, TextPart | RefusalPart)])


def _check_content(parts: Iterable[Part]) -> None:
    for part in parts:
        if not isinstance(part, TextPart | RefusalPart | ReasoningPart | ImagePart | ToolCallPart):
            raise _unsupported_content("content other than text and images")


def _unsupported_content(what: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"The hub cannot send {what} to {TARGET}.", param="messages")


def _encode_image(image: ImagePart, role: str) -> str:
    if role not in ("user", "tool"):
        raise _unsupported_content(f"images in a message of the role `{role}`")
    inline = find_inline_data(image.url, what="image")
    if inline is None:
        raise UnsupportedRequestError(
            f"{TARGET.capitalize()} take images as base64 `data:` URLs only.", param="messages"
        )
    return inline.data


def _encode_call(call: ToolCallPart, number: int) -> JSONObject:
    arguments = _find_object(call.arguments or "{}")
    if arguments is None:
        raise _unsupported_content("a tool call whose arguments are no JSON object")
    return {"id": call.id, "function": {"index": number, "name": call.name, "arguments": arguments}}


def _find_object(text: str) -> JSONObject | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _encode_result(result: ToolResultPart, tool_name: str | None) -> JSONObject:
    _check_content(result.parts)
    wire: JSONObject = {**own_fields(result.extra, FORMAT), "role": "tool", "content": _joined_text(result.parts)}
    if images := [_encode_image(part, "tool") for part in result.parts if isinstance(part, ImagePart)]:
        wire["images"] = images
    if tool_name is not None:
        wire["tool_name"] = tool_name
    wire["tool_call_id"] = result.call_id
    return wire


def without_refused(call: EncodedRequest, error: ProviderError) -> EncodedRequest | None:
    """Return the request to send once more, without thinking for a model that cannot, else None."""
    if not call.body.get("think") or not UNTHINKING_MESSAGE.search(error.message):
        return None
    body = {key: value for key, value in call.body.items() if key != "think"}
    return EncodedRequest(body, tuple(sorted({*call.dropped_params, "reasoning_effort"})))


def decode_request(body: JSONObject) -> ChatRequest:
    """Translate what `encode_request` makes, and what else the API takes."""
    options = object_at(body, "options")
    rest = {key: value for key, value in body.items() if key not in _REQUEST_KEYS}
    if options_rest := {key: value for key, value in options.items() if key not in OPTION_OF_PARAM.values()}:
        rest["options"] = options_rest
    think = body.get("think")
    effort = EFFORT_OF_THINK.get(think) if isinstance(think, bool | str) else None
    if effort is None and think is not None:
        rest["think"] = think
    return ChatRequest(
        messages=tuple(_decode_messages(objects_at(body, "messages"))),
        model_name=find_text(body, "model") or "",
        sampling=_decode_sampling(body, options),
        tools=tuple([_decode_tool(tool) for tool in objects_at(body, "tools")]),
        output_format=_decode_format(body.get("format")),
        reasoning=Reasoning(effort) if effort is not None else None,
        is_stream=body.get("stream") is not False,
        extra=Passthrough(FORMAT, rest) if rest else None,
    )


def _decode_sampling(body: JSONObject, options: JSONObject) -> Sampling:
    params = {name: options[key] for name, key in OPTION_OF_PARAM.items() if options.get(key) is not None}
    if "stop" in params:
        params["stop"] = tuple(params["stop"])
    return Sampling(**params, logprobs=body.get("logprobs"), top_logprobs=body.get("top_logprobs"))


def _decode_format(form: Any) -> OutputFormat | None:
    if isinstance(form, dict):
        return OutputFormat("json_schema", form)
    return OutputFormat("json_object") if form == "json" else None


def _decode_tool(wire: JSONObject) -> Tool | OpaqueTool:
    if wire.get("type") != "function":
        return OpaqueTool(FORMAT, wire)
    function = object_at(wire, "function")
    return Tool(text_at(function, "name"), find_text(function, "description"), function.get("parameters"))


def _decode_messages(messages: Iterable[JSONObject]) -> Iterator[ChatMessage]:
    calls: list[ToolCallPart] = []
    for wire in messages:
        role = text_at(wire, "role")
        if role == "tool":
            parts = _decode_parts(wire, stamp="", first=0)
            yield ChatMessage("tool", [ToolResultPart(_called_id(wire, calls), tuple(parts))])
        else:
            message = ChatMessage(
                "assistant" if role == "assistant" else "system" if role == "system" else "user",
                _decode_parts(wire, stamp=str(len(calls)), first=0),
            )
            calls += [part for part in message.parts if isinstance(part, ToolCallPart)]
            yield message


def _called_id(wire: JSONObject, calls: Iterable[ToolCallPart]) -> str:
    """Return the id of the call that a result is of; where only the tool is named, of its last call."""
    name = find_text(wire, "tool_name")
    ids = [call.id for call in calls if call.name == name]
    return find_text(wire, "tool_call_id") or (ids[-1] if ids else name or "")


# Messages, which are the same both ways


def _decode_parts(message: JSONObject, *, stamp: str, first: int) -> list[Part]:
    """Translate a message: thoughts, text, images and calls, in this order.

    Shape: calls of servers before ids were sent are named by `stamp` and numbers from `first` on.
    """
    parts: list[Part] = []
    if thinking := find_text(message, "thinking"):
        parts.append(ReasoningPart(thinking))
    if content := find_text(message, "content"):
        parts.append(TextPart(content))
    if message.get("images"):
        parts += _decode_images(message)
    if message.get("tool_calls"):
        calls = objects_at(message, "tool_calls")
        parts += [_decode_call(call, stamp, number) for number, call in enumerate(calls, first)]
    return parts


def _decode_images(message: JSONObject) -> list[ImagePart]:
    images = list_at(message, "images")
    if not all(isinstance(data, str) for data in images):
        raise MalformedReplyError("The provider's `images` are not text.")
    return [ImagePart(InlineData(_image_type(data), data).url) for data in images]


def _image_type(data: str) -> str:
    return next((type_ for start, type_ in IMAGE_TYPE_OF_START.items() if data.startswith(start)), "image/png")


def _decode_call(call: JSONObject, stamp: str, number: int) -> ToolCallPart:
    function = object_at(call, "function")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):  # the text itself comes from servers that only look like Ollama
        arguments = compact_json(object_at(function, "arguments"))
    id_ = label_or_none(call.get("id")) or "_".join(["call", *([stamp] if stamp else []), str(number)])
    return ToolCallPart(id_, text_at(function, "name"), arguments or "{}")


# Answers


def decode_reply(body: JSONObject) -> ChatResponse:
    """Translate a whole answer.

    Errors: MalformedReplyError, UpstreamError for an answer that is none, or the error in the body.
    """
    if body.get("error") is not None:
        raise decode_error(200, body)
    if body.get("done") is not True:
        raise MalformedReplyError("The provider's answer is not done.")
    parts = tuple(_decode_parts(object_at(body, "message"), stamp=_stamp(body), first=0))
    choice = Choice(
        parts=parts,
        finish_reason=_finish_reason(body, {type(part) for part in parts}),
        native_finish_reason=text_or_none(body.get("done_reason")),
        extra=_decode_logprobs(body),
    )
    return ChatResponse(choices=(choice,), model_name=_model_name(body) or "", usage=_find_usage(body))


def _stamp(body: JSONObject) -> str:
    """Return what tells the calls of one answer from those of another."""
    return re.sub(r"\D", "", text_or_none(body.get("created_at")) or "")


def _model_name(body: JSONObject) -> str | None:
    return text_or_none(body.get("model"))


def _finish_reason(body: JSONObject, kinds: set[type[Part]]) -> FinishReason:
    """Return the canonical reason; Ollama has none for tool calls.

    Shape: `kinds` are the types of the answer's parts.
    Errors: UpstreamError where there is none, as the answer was aborted, or where the model was only loaded.
    """
    native = text_or_none(body.get("done_reason"))
    if not native or native == "error":
        raise UpstreamError("The provider aborted the answer.")
    if native in NOTHING_DONE and not kinds:
        raise UpstreamError(f"The provider answered nothing: {native}.", code="provider_error")
    if ToolCallPart in kinds and native != "length":
        return "tool_calls"
    return "length" if native == "length" else "stop"


def _find_usage(body: JSONObject) -> Usage | None:
    """Return the usage where both counts are told: Ollama leaves out those of what it took from its cache."""
    prompt, completion = count_or_none(body.get("prompt_eval_count")), count_or_none(body.get("eval_count"))
    if prompt is None or completion is None:
        return None
    return Usage(prompt_tokens=prompt, completion_tokens=completion)


def _decode_logprobs(body: JSONObject) -> Passthrough | None:
    """Return the log probabilities in the shape of OpenAI's chat completions, the only ones who can show them."""
    tokens = body.get("logprobs")
    if not isinstance(tokens, list) or not tokens:
        return None
    content = [
        _token(one) | {"top_logprobs": [_token(other) for other in _listed(one, "top_logprobs")]}
        for one in map(object_or_empty, tokens)
    ]
    return Passthrough(WireFormat.OPENAI_CHAT, {"logprobs": {"content": content, "refusal": None}})


def _listed(wire: JSONObject, key: str) -> list[JSONObject]:
    value = wire.get(key)
    return [object_or_empty(one) for one in value] if isinstance(value, list) else []


def _token(wire: JSONObject) -> JSONObject:
    token = text_or_none(wire.get("token")) or ""
    return {"token": token, "logprob": wire.get("logprob"), "bytes": list(token.encode(errors="replace"))}


class OllamaStreamDecoder(StreamDecoder):
    """Translates lines of one answer each; the last one is done."""

    framing: ClassVar[Framing] = "ndjson"
    ends_at_finish: ClassVar[bool] = True

    def __init__(self) -> None:
        self._is_started = False
        self._parts = 0
        self._calls = 0
        self._open_kind: type[Part] | None = None
        self._kinds: set[type[Part]] = set()

    def decode(self, frame: JSONObject) -> Sequence[Delta]:
        message = frame.get("message")
        if self._open_kind is TextPart and type(message) is dict and frame.get("done") is False:
            text = message.get("content")  # what most lines are: more of the text
            if type(text) is str and text and len(message) == 2 and "role" in message and "logprobs" not in frame:
                return (PartDelta(0, self._parts - 1, text),)
        return list(self._decode(frame))

    def _decode(self, frame: JSONObject) -> Iterator[Delta]:
        if frame.get("error") is not None:
            raise decode_error(200, frame)
        if not self._is_started:
            self._is_started = True
            yield ReplyStarted(_model_name(frame))
        for part in _decode_parts(object_at(frame, "message"), stamp=_stamp(frame), first=self._calls):
            yield from self._add(part)
        if extra := _decode_logprobs(frame):
            yield ExtraDelta(0, extra)
        if frame.get("done") is True:
            yield ChoiceFinished(0, _finish_reason(frame, self._kinds), text_or_none(frame.get("done_reason")))
            if usage := _find_usage(frame):
                yield UsageTold(usage)
            self.is_finished = True

    def _add(self, part: Part) -> Iterator[Delta]:
        """Yield what a part adds: texts by pieces, everything else whole."""
        is_more = type(part) is self._open_kind
        self._kinds.add(type(part))
        self._parts += not is_more
        if not isinstance(part, TextPart | ReasoningPart):
            self._calls += isinstance(part, ToolCallPart)
            self._open_kind = None
            yield PartStarted(0, self._parts - 1, part)
            return
        self._open_kind = type(part)
        if not is_more:
            yield PartStarted(0, self._parts - 1, replace(part, text=""))
        yield PartDelta(0, self._parts - 1, part.text)


# Answers as the API sends them


def encode_reply(response: ChatResponse, head: ReplyHead) -> JSONObject:
    choice = response.choices[0] if response.choices else Choice()
    message: JSONObject = {"role": "assistant", "content": _joined_text(choice.parts)}
    for part in choice.parts:
        for key, value in _encode_answer_part(part).items():
            message[key] = message[key] + value if key in message else value
    return _frame(response.model_name, head) | {"message": message, **_encode_end(response)}


def _frame(model_name: str, head: ReplyHead) -> JSONObject:
    created_at = datetime.fromtimestamp(head.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"model": model_name or head.model_name, "created_at": created_at}


def _encode_answer_part(part: Part) -> JSONObject:
    """Return what a part that is no text adds to a message."""
    match part:
        case ReasoningPart():
            return {"thinking": part.text} if part.text else {}
        case ToolCallPart():
            arguments = _find_object(part.arguments or "{}")
            function = {"name": part.name, "arguments": {} if arguments is None else arguments}
            return {"tool_calls": [{"id": part.id, "function": function}]}
        case ImagePart():
            inline = find_inline_data(part.url, what="image")
            return {} if inline is None else {"images": [inline.data]}
        case _:
            return {}


def _encode_end(response: ChatResponse) -> JSONObject:
    choice = response.choices[0] if response.choices else Choice()
    end: JSONObject = {"done": True, "done_reason": "length" if choice.finish_reason == "length" else "stop"}
    if response.usage is not None:
        end |= {"prompt_eval_count": response.usage.prompt_tokens, "eval_count": response.usage.completion_tokens}
    return end


class OllamaStreamEncoder(StreamEncoder):
    """Renders lines; calls go out at the end, when they are whole."""

    def __init__(self, head: ReplyHead) -> None:
        self._head = head
        self._model_name = head.model_name
        self._parts: dict[int, Part] = {}

    def encode(self, deltas: Iterable[Delta]) -> bytes:
        return b"".join([line for delta in deltas for line in self._lines(delta)])

    def _lines(self, delta: Delta) -> Iterator[bytes]:
        match delta:
            case ReplyStarted():
                self._model_name = delta.model_name or self._model_name
            case PartStarted(choice=0, value=part):
                self._parts[delta.part] = part
                if not isinstance(part, ToolCallPart):
                    yield from self._part_lines(part)
            case PartDelta(choice=0):
                part = self._parts[delta.part]
                if isinstance(part, ToolCallPart):
                    self._parts[delta.part] = replace(part, arguments=part.arguments + delta.text)
                elif isinstance(part, TextPart | ReasoningPart | RefusalPart):
                    yield from self._part_lines(replace(part, text=delta.text))

    def _part_lines(self, part: Part) -> Iterator[bytes]:
        message = {"role": "assistant", "content": _joined_text([part]), **_encode_answer_part(part)}
        if len(message) > 2 or message["content"]:
            yield self._line({"message": message, "done": False})

    def _line(self, fields: JSONObject) -> bytes:
        return orjson.dumps(_frame(self._model_name, self._head) | fields) + b"\n"

    def end(self, response: ChatResponse) -> bytes:
        calls = [part for _, part in sorted(self._parts.items()) if isinstance(part, ToolCallPart)]
        lines = b"".join([line for call in calls for line in self._part_lines(call)])
        return lines + self._line({"message": {"role": "assistant", "content": ""}, **_encode_end(response)})


# Refusals


def decode_error(status: int, body: Any) -> ProviderError:
    """Classify a refusal, or an error that came after the status 200."""
    if status < 400:
        status = 500
    told = object_or_empty(body).get("error")
    message = message_of({"message": told}, status)
    return _error_class(status, message, has_error=bool(told))(message, upstream_status=status)


def _error_class(status: int, message: str, *, has_error: bool) -> type[ProviderError]:
    if status in (400, 500) and CONTEXT_MESSAGE.search(message):
        return ContextTooLongError
    if status == 404 and not has_error:
        return ConfigurationError
    if status == 499:
        return UpstreamError
    return error_of_status(status)
