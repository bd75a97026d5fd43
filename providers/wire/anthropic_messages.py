"""Anthropic's Messages API, asked and served; its blocks, answers and streams lie in modules of their own.

Source: https://platform.claude.com/docs/en/api/messages, read 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Literal

from providers.errors import ProviderError, RequestRejectedError, UnsupportedRequestError
from providers.types import (
    ChatMessage,
    ChatRequest,
    Effort,
    JSONObject,
    OpaqueTool,
    OutputFormat,
    Part,
    Passthrough,
    Reasoning,
    ReasoningPart,
    Role,
    Sampling,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolMode,
    ToolResultPart,
)
from providers.wire.anthropic_messages_answers import decode_error, decode_reply, encode_reply
from providers.wire.anthropic_messages_blocks import (
    FORMAT,
    TARGET,
    decode_block,
    encode_assistant_part,
    encode_instruction,
    encode_user_part,
    rest_of,
)
from providers.wire.anthropic_messages_schema import MESSAGES_BODY
from providers.wire.anthropic_messages_stream import AnthropicStreamDecoder, AnthropicStreamEncoder
from providers.wire.codec import EncodedRequest
from providers.wire.efforts import BUDGET_TOKENS_OF_EFFORT, effort_of_budget
from providers.wire.foreign import check_foreign_params, foreign_names, own_fields, unsupported
from providers.wire.json_access import object_at, object_or_empty, objects_at
from providers.wire.structured_schemas import simplified
from providers.wire.validation import check_body

__all__ = [
    "AnthropicStreamDecoder",
    "AnthropicStreamEncoder",
    "decode_error",
    "decode_reply",
    "decode_request",
    "encode_reply",
    "encode_request",
    "without_refused",
]

ThinkingType = Literal["adaptive", "enabled", "disabled"]

JSON_INSTRUCTION = "Answer with a single JSON object and nothing else: no words around it, no code fence."

SAMPLING_PARAMS = ("temperature", "top_p", "top_k")
UNKNOWN_PARAMS = ("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
MIN_BUDGET_TOKENS = 1024

TYPE_OF_TOOL_MODE: Mapping[ToolMode, str] = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
TOOL_MODE_OF_TYPE: Mapping[str, ToolMode] = {"auto": "auto", "none": "none", "any": "required", "tool": "tool"}

UNSAMPLED_MESSAGE = re.compile(r"`?(temperature|top_p|top_k)`? is deprecated")
EITHER_MESSAGE = re.compile(r"`temperature` and `top_p` cannot both be specified")

_REQUEST_KEYS = frozenset(
    {
        "model", "messages", "max_tokens", "system", *SAMPLING_PARAMS, "stop_sequences", "tools", "tool_choice",
        "thinking", "output_config", "metadata", "stream",
    }
)  # fmt: skip


def encode_request(
    request: ChatRequest,
    *,
    stream: bool,
    default_max_tokens: int,
    takes_sampling: bool = True,
    thinking: Collection[ThinkingType] = (),
) -> EncodedRequest:
    """Translate a request; one that came in this format goes out as it came.

    Shape: `takes_sampling` tells whether the API's version and the model take temperature, top_p and top_k; `thinking`
    are the types of thinking that the model has, as the model list tells: it is asked for none of the others.
    Errors: RequestRejectedError, UnsupportedRequestError for what cannot be said.
    """
    check_foreign_params(request, FORMAT, target=TARGET)
    encoder = _RequestEncoder(request, takes_sampling=takes_sampling, default_max_tokens=default_max_tokens)
    return encoder.encode(stream=stream, thinking=thinking)


class _RequestEncoder:
    """Translates one request; notes the parameters that are lost or changed on the way."""

    def __init__(self, request: ChatRequest, *, takes_sampling: bool, default_max_tokens: int) -> None:
        self._request = request
        self._own = own_fields(request.extra, FORMAT)
        self._is_own = request.extra is not None and request.extra.format is FORMAT
        self._takes_sampling = takes_sampling
        self._max_tokens = request.sampling.max_tokens
        self._default_max_tokens = default_max_tokens
        self._dropped: set[str] = set()

    def encode(self, *, stream: bool, thinking: Collection[ThinkingType]) -> EncodedRequest:
        request = self._request
        instructions = list(takewhile(_is_instruction, request.messages))
        body: JSONObject = {**self._own, "model": request.model_name}
        system = [block for message in instructions for block in encode_instruction(message)]
        output_config = self._output_config(system)
        if self._is_own:
            output_config |= self._own_reasoning(body)
        else:
            output_config |= self._reasoning(body, thinking)
        body["max_tokens"] = self._max_tokens or self._default_max_tokens
        body["messages"] = self._messages(request.messages[len(instructions) :])
        if system:
            body["system"] = system
        if output_config:
            body["output_config"] = {**object_or_empty(self._own.get("output_config")), **output_config}
        if request.user:
            body["metadata"] = {**object_or_empty(self._own.get("metadata")), "user_id": request.user}
        body |= self._sampling()
        body |= self._tools()
        if stream:
            body["stream"] = True
        self._dropped.update(foreign_names(request, FORMAT))
        return EncodedRequest(body, tuple(sorted(self._dropped)))

    def _messages(self, messages: Iterable[ChatMessage]) -> list[JSONObject]:
        """Join neighbours of one side; the results of calls come before what the user says beside them.

        Errors: RequestRejectedError when nobody says anything.
        """
        turns: list[JSONObject] = []
        for message in messages:
            role, blocks = self._message(message)
            if blocks and turns and turns[-1]["role"] == role:
                turns[-1]["content"] += blocks
            elif blocks:
                turns.append({"role": role, "content": blocks})
        if not turns:
            raise RequestRejectedError(
                f"{TARGET.capitalize()} need at least one message of the user.", param="messages"
            )
        for turn in turns:
            if turn["role"] == "user":
                turn["content"].sort(key=lambda block: block.get("type") != "tool_result")
        last = turns[-1]["content"][-1]
        if turns[-1]["role"] == "assistant" and last.get("type") == "text":
            last["text"] = last["text"].rstrip()
        return turns

    def _message(self, message: ChatMessage) -> tuple[str, list[JSONObject]]:
        """Return the side of a message and its blocks; later instructions are the user's where they may not stand."""
        if _is_instruction(message):
            return "system" if self._is_own else "user", encode_instruction(message)
        if message.role == "assistant":
            return "assistant", [block for part in message.parts if (block := encode_assistant_part(part)) is not None]
        return "user", [block for part in message.parts if (block := encode_user_part(part)) is not None]

    def _sampling(self) -> JSONObject:
        sampling = self._request.sampling
        if sampling.n is not None and sampling.n > 1:
            raise unsupported("n", TARGET)
        if sampling.logprobs:
            raise unsupported("logprobs", TARGET)
        self._dropped.update(name for name in UNKNOWN_PARAMS if getattr(sampling, name) is not None)
        body: JSONObject = {name: value for name, value in sampling.given().items() if name in SAMPLING_PARAMS}
        if not self._takes_sampling:
            self._dropped.update(body)
            body = {}
        if "temperature" in body and not 0 <= body["temperature"] <= 1:
            self._dropped.add("temperature")
            body["temperature"] = min(max(body["temperature"], 0.0), 1.0)
        if stops := [text for text in sampling.stop or () if text.strip()]:
            body["stop_sequences"] = stops
        if len(stops) < len(sampling.stop or ()):  # those of white space alone are refused
            self._dropped.add("stop")
        return body

    def _output_config(self, system: list[JSONObject]) -> JSONObject:
        """Return the form of the answer; where it is JSON of no schema, the instructions ask for it."""
        form = self._request.output_format
        if form is None or form.kind == "text":
            return {}
        if form.schema is None:
            system.append({"type": "text", "text": JSON_INSTRUCTION})
            self._dropped.add("response_format")
            return {}
        schema: Mapping[str, Any] = form.schema
        if not self._is_own:
            schema, is_lossy = simplified(schema)
            if is_lossy and form.strict:
                raise _unkept_strictness("response_format")
            if is_lossy:
                self._dropped.add("response_format.schema")
            if form.description:
                schema.setdefault("description", form.description)
        return {"format": {"type": "json_schema", "schema": schema}}

    def _own_reasoning(self, body: JSONObject) -> JSONObject:
        """Say what the caller said of thinking, and nothing of what it did not."""
        reasoning = self._request.reasoning or Reasoning()
        if reasoning.budget_tokens is not None:
            body.setdefault("thinking", {"type": "enabled", "budget_tokens": reasoning.budget_tokens})
        if reasoning.effort == "none":
            body.setdefault("thinking", {"type": "disabled"})
        return {} if reasoning.effort in (None, "none") else {"effort": _effort(reasoning)}

    def _reasoning(self, body: JSONObject, thinking: Collection[ThinkingType]) -> JSONObject:
        """Ask for as much thinking as another format says, in the way that the model has."""
        reasoning = self._request.reasoning
        if reasoning is None or reasoning == Reasoning():
            return {}
        choice = self._request.tool_choice
        is_forced = choice is not None and choice.mode in ("required", "tool") and bool(self._request.tools)
        if reasoning.effort == "none" or reasoning.budget_tokens == 0:
            if "disabled" in thinking:
                body["thinking"] = {"type": "disabled"}
            else:
                self._dropped.add("reasoning_effort")
            return {}
        if "adaptive" in thinking:
            if not is_forced:  # a model that thinks can be forced to no call
                self._think(body, {"type": "adaptive", "display": "summarized"})
            effort = _effort(reasoning)
            return {"effort": effort} if effort else {}
        can_think = "enabled" in thinking and not is_forced and not _is_amid_calls_of_others(self._request.messages)
        budget_tokens = self._budget_tokens(reasoning) if can_think else None
        if budget_tokens is None:
            self._dropped.add("reasoning_effort")
        else:
            self._think(body, {"type": "enabled", "budget_tokens": budget_tokens})
        return {}

    def _think(self, body: JSONObject, config: JSONObject) -> None:
        body["thinking"] = config
        self._takes_sampling = False

    def _budget_tokens(self, reasoning: Reasoning) -> int | None:
        """Return the tokens to think with, which count as the answer's, None where that may be too short for any."""
        budget_tokens = reasoning.budget_tokens
        if budget_tokens is None or budget_tokens < 0:
            budget_tokens = BUDGET_TOKENS_OF_EFFORT[reasoning.effort or "medium"]
        budget_tokens = max(budget_tokens, MIN_BUDGET_TOKENS)
        if self._max_tokens is None:
            self._max_tokens = budget_tokens + self._default_max_tokens
        budget_tokens = min(budget_tokens, self._max_tokens - 1)
        return budget_tokens if budget_tokens >= MIN_BUDGET_TOKENS else None

    def _tools(self) -> JSONObject:
        request = self._request
        if not request.tools:
            self._dropped.update(
                name for name in ("tool_choice", "parallel_tool_calls") if getattr(request, name) is not None
            )
            return {}
        body: JSONObject = {"tools": [_encode_tool(tool, is_own=self._is_own) for tool in request.tools]}
        choice = request.tool_choice
        is_single = request.parallel_tool_calls is False and (choice is None or choice.mode != "none")
        if choice is not None or is_single:
            wire: JSONObject = {"type": TYPE_OF_TOOL_MODE[choice.mode if choice else "auto"]}
            if choice is not None and choice.mode == "tool":
                wire["name"] = choice.name
            if is_single:
                wire["disable_parallel_tool_use"] = True
            body["tool_choice"] = wire
        return body


def _is_instruction(message: ChatMessage) -> bool:
    return message.role in ("system", "developer")


def _is_amid_calls_of_others(messages: Sequence[ChatMessage]) -> bool:
    """Whether the last turn called tools without a thought of this provider, which a thinking turn must begin with.

    Source: https://platform.claude.com/docs/en/build-with-claude/extended-thinking, read 2026-11.
    """
    last = next((message for message in reversed(messages) if message.role == "assistant"), ChatMessage("assistant"))
    signatures = [part.signature for part in last.parts if isinstance(part, ReasoningPart)]
    is_own_thought = any(signature is not None and signature.format is FORMAT for signature in signatures)
    return not is_own_thought and any(isinstance(part, ToolCallPart) for part in last.parts)


def _effort(reasoning: Reasoning) -> Effort | None:
    effort = reasoning.effort
    if effort is None and reasoning.budget_tokens is not None:
        effort = effort_of_budget(reasoning.budget_tokens)
    return "low" if effort == "minimal" else effort


def _unkept_strictness(param: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(
        f"The hub cannot send `{param}` to {TARGET}: they do not hold answers to all of the strict schema.", param=param
    )


def _encode_tool(tool: Tool | OpaqueTool, *, is_own: bool) -> JSONObject:
    if isinstance(tool, OpaqueTool):
        if tool.format is not FORMAT:
            raise unsupported("tools", TARGET)
        return dict(tool.wire)
    schema: Mapping[str, Any] = tool.parameters or {}
    if tool.strict and not is_own:
        schema, is_lossy = simplified(schema)
        if is_lossy:
            raise _unkept_strictness("tools")
    wire: JSONObject = {**own_fields(tool.extra, FORMAT), "name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    wire["input_schema"] = schema if "type" in schema else {"type": "object", **schema}
    if tool.strict or (is_own and tool.strict is not None):
        wire["strict"] = tool.strict
    return wire


def without_refused(call: EncodedRequest, error: ProviderError) -> EncodedRequest | None:
    """Return the request to send once more, without the sampling parameters that a refusal names, else None.

    The model list does not tell which models take them.
    """
    if not isinstance(error, RequestRejectedError):
        return None
    given = [name for name in SAMPLING_PARAMS if name in call.body]
    if EITHER_MESSAGE.search(error.message):
        given = [name for name in given if name == "top_p"]
    elif not UNSAMPLED_MESSAGE.search(error.message):
        return None
    if not given:
        return None
    body = {key: value for key, value in call.body.items() if key not in given}
    return EncodedRequest(body, tuple(sorted({*call.dropped_params, *given})))


def decode_request(body: JSONObject) -> ChatRequest:
    """Translate a caller's body.

    Shape: `extra` is there even when empty: it tells that the request came in this format, in which it goes out as it
    came.
    Errors: BadRequestError with the field's path.
    """
    check_body(MESSAGES_BODY, body)
    choice = object_at(body, "tool_choice")
    extra = {key: value for key, value in body.items() if key not in _REQUEST_KEYS and value is not None}
    reasoning = _decode_reasoning(body, extra)
    metadata = object_at(body, "metadata")
    if rest := {key: value for key, value in metadata.items() if key != "user_id"}:
        extra["metadata"] = rest
    return ChatRequest(
        messages=tuple(_decode_messages(body)),
        model_name=body.get("model") or "",
        sampling=_decode_sampling(body),
        tools=tuple([_decode_tool(tool) for tool in objects_at(body, "tools")]),
        tool_choice=ToolChoice(TOOL_MODE_OF_TYPE[choice["type"]], choice.get("name")) if choice else None,
        parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        output_format=_decode_output_format(body, extra),
        reasoning=reasoning,
        user=metadata.get("user_id"),
        is_stream=body.get("stream") or False,
        extra=Passthrough(FORMAT, extra),
    )


def _decode_sampling(body: JSONObject) -> Sampling:
    stops = body.get("stop_sequences")
    return Sampling(
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        top_k=body.get("top_k"),
        max_tokens=body.get("max_tokens"),
        stop=tuple(stops) if stops else None,
    )


def _decode_reasoning(body: JSONObject, extra: JSONObject) -> Reasoning | None:
    """Return what other formats can say of thinking; what they cannot is added to `extra`."""
    config = object_at(body, "thinking")
    effort = object_at(body, "output_config").get("effort")
    budget_tokens = config.get("budget_tokens") if config.get("type") == "enabled" else None
    if config.get("type") == "disabled":
        if effort is not None:
            extra["output_config"] = {"effort": effort}
        effort = "none"
    if config and config not in ({"type": "disabled"}, {"type": "enabled", "budget_tokens": budget_tokens}):
        extra["thinking"] = config
    return Reasoning(effort, budget_tokens) if effort is not None or budget_tokens is not None else None


def _decode_output_format(body: JSONObject, extra: JSONObject) -> OutputFormat | None:
    config = object_at(body, "output_config")
    form = object_at(config, "format")
    rest = {key: value for key, value in config.items() if key not in ("effort", "format") and value is not None}
    if rest:
        extra["output_config"] = {**extra.get("output_config", {}), **rest}
    return OutputFormat("json_schema", form["schema"]) if form else None


def _decode_tool(wire: JSONObject) -> Tool | OpaqueTool:
    if wire.get("type") not in (None, "custom"):
        return OpaqueTool(FORMAT, wire)
    return Tool(
        wire["name"],
        wire.get("description"),
        wire["input_schema"],
        wire.get("strict"),
        rest_of(wire, "type", "name", "description", "input_schema", "strict"),
    )


def _decode_messages(body: JSONObject) -> Iterator[ChatMessage]:
    """Yield the messages; each result of a tool is one of its own."""
    system = body.get("system")
    if system:
        yield ChatMessage("system", system if isinstance(system, str) else [decode_block(block) for block in system])
    for wire in body["messages"]:
        role, content = wire["role"], wire["content"]
        extra = rest_of(wire, "role", "content")
        if isinstance(content, str):
            yield ChatMessage(role, content, extra=extra)
        else:
            yield from _decode_blocks(role, content, extra)


def _decode_blocks(role: Role, blocks: Iterable[JSONObject], extra: Passthrough | None) -> Iterator[ChatMessage]:
    parts: list[Part] = []
    has_results = False
    for block in blocks:
        part = decode_block(block)
        if not isinstance(part, ToolResultPart):
            parts.append(part)
            continue
        has_results = True
        if parts:
            yield ChatMessage(role, parts, extra=extra)
            parts = []
        yield ChatMessage("tool", [part])
    if parts or not has_results:
        yield ChatMessage(role, parts, extra=extra)
