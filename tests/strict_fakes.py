"""Fake providers that refuse what the real ones refuse of tools; the rules are written from the documented formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise, takewhile
from typing import Any

from providers.types import ProviderType
from tests.fake_formats import Recorded
from tests.fakes import Answer, FakeProvider, json_answer

OPENAI_FIELDS = {
    "audio", "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "messages",
    "metadata", "modalities", "model", "moderation", "n", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop",
    "store", "stream", "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
    "verbosity", "web_search_options",
}  # fmt: skip
ANTHROPIC_FIELDS = {
    "max_tokens", "messages", "metadata", "model", "output_config", "service_tier", "stop_sequences", "stream",
    "system", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_p",
}  # fmt: skip
GOOGLE_FIELDS = {
    "cachedContent", "contents", "generationConfig", "safetySettings", "systemInstruction", "toolConfig", "tools",
}  # fmt: skip
GOOGLE_PART_FIELDS = {
    "fileData", "functionCall", "functionResponse", "inlineData", "text", "thought", "thoughtSignature",
}  # fmt: skip
GOOGLE_SCHEMA_FIELDS = {
    "anyOf", "default", "description", "enum", "example", "format", "items", "maxItems", "maxLength", "maxProperties",
    "maximum", "minItems", "minLength", "minProperties", "minimum", "nullable", "pattern", "properties",
    "propertyOrdering", "required", "title", "type",
}  # fmt: skip
MISTRAL_FIELDS = {
    "frequency_penalty", "guardrails", "max_tokens", "messages", "metadata", "model", "n", "parallel_tool_calls",
    "prediction", "presence_penalty", "prompt_cache_key", "prompt_mode", "random_seed", "reasoning_effort",
    "response_format", "safe_prompt", "service_tier", "stop", "stream", "temperature", "tool_choice", "tools", "top_p",
}  # fmt: skip
MISTRAL_MESSAGE_FIELDS = {
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "system": {"role", "content"},
    "tool": {"role", "content", "tool_call_id", "name"},
    "user": {"role", "content"},
}


class StrictProvider(FakeProvider):
    """A fake provider that reads each request as its API does, and refuses a wrong one with the status 400."""

    def __init__(self, provider_type: ProviderType | str, **script: Any) -> None:
        super().__init__(provider_type, **script)
        self.provider_type = ProviderType(provider_type)

    def _whole_or_stream(self, request: Recorded) -> Answer:
        fault = next(RULES[self.provider_type](request.json), None)
        if fault is None:
            return super()._whole_or_stream(request)
        return json_answer(self.format, self.format.error(400, fault), status=400)


def openai_faults(body: Any) -> Iterator[str]:
    yield from unknown_fields(body, OPENAI_FIELDS)
    yield from function_faults(body)
    yield from order_faults(body["messages"])
    for call in calls_of(body["messages"]):
        if not isinstance(call["function"]["arguments"], str):
            yield "Invalid type for 'messages.tool_calls.function.arguments': expected a string."
        elif not is_object(call["function"]["arguments"]):
            yield "The arguments of a tool call are not valid JSON."


def mistral_faults(body: Any) -> Iterator[str]:
    messages = body["messages"]
    yield from unknown_fields(body, MISTRAL_FIELDS)
    yield from function_faults(body)
    if not all("parameters" in tool["function"] for tool in body.get("tools", ())):
        yield "body.tools.function.parameters: Field required"
    for message in messages:
        yield from unknown_fields(message, MISTRAL_MESSAGE_FIELDS[message["role"]])
    for call in calls_of(messages):
        yield from unknown_fields(call, {"id", "type", "function", "index"})
        yield from unknown_fields(call["function"], {"name", "arguments"})
        if not re.fullmatch(r"[a-zA-Z0-9]{9}", call["id"]):
            yield f"Tool call id was {call['id']} but must be a-z, A-Z, 0-9, with a length of 9."
    yield from order_faults(messages)
    for one, two in pairwise(message["role"] for message in messages):
        if (one, two) in {("tool", "user"), ("tool", "system"), ("assistant", "system")}:
            yield f"Unexpected role '{two}' after role '{one}'"
    last = messages[-1]
    if last["role"] not in ("user", "tool") and not last.get("prefix"):
        yield f"Expected last role User or Tool (or Assistant with prefix True) but got {last['role']}"


def ollama_faults(body: Any) -> Iterator[str]:
    yield from function_faults(body)
    for message in body["messages"]:
        if not isinstance(message.get("content", ""), str):
            yield "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string"
        if message["role"] == "tool" and not {"tool_name", "tool_call_id"} & message.keys():
            yield "a tool message names neither its tool nor its call"
    for call in calls_of(body["messages"]):
        if not isinstance(call["function"]["arguments"], dict):
            yield "Value looks like object, but can't find closing '}' symbol"


def anthropic_faults(body: Any) -> Iterator[str]:
    yield from unknown_fields(body, ANTHROPIC_FIELDS)
    if "max_tokens" not in body:
        yield "max_tokens: Field required"
    for tool in body.get("tools", ()):
        if not tool.get("name") or tool.get("input_schema", {}).get("type") != "object":
            yield "tools: `name` and `input_schema` of the type `object` are required"
    for number, message in enumerate(body["messages"]):
        if message["role"] != ("user", "assistant")[number % 2]:
            yield 'messages: roles must alternate between "user" and "assistant", and the first is "user"'
    for block in (block for message in body["messages"] for block in blocks_of(message)):
        yield from block_faults(block)
    yield from tool_result_faults(body["messages"])


def block_faults(block: Any) -> Iterator[str]:
    if block["type"] == "text" and not block["text"].strip():
        yield "messages: text content blocks must be non-empty"
    if block["type"] == "tool_use":
        if not re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]):
            yield "messages.content.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        if not isinstance(block["input"], dict):
            yield "messages.content.tool_use.input: Input should be a valid dictionary"


def tool_result_faults(messages: Any) -> Iterator[str]:
    """Yield what is wrong with Anthropic's results: those of a turn's calls come first in the very next message."""
    edge = {"content": []}
    for turn, reply in pairwise([edge, *messages, edge]):
        called = [block["id"] for block in blocks_of(turn) if block["type"] == "tool_use"]
        results = [block["tool_use_id"] for block in blocks_of(reply) if block["type"] == "tool_result"]
        first = list(takewhile(lambda block: block["type"] == "tool_result", blocks_of(reply)))
        if set(called) - {block["tool_use_id"] for block in first}:
            yield "messages: `tool_use` ids were found without `tool_result` blocks immediately after"
        if set(results) - set(called) or len(results) != len(set(results)):
            yield "messages: unexpected `tool_use_id` found in `tool_result` blocks"


def google_faults(body: Any) -> Iterator[str]:
    yield from unknown_fields(body, GOOGLE_FIELDS)
    yield from declaration_faults(body)
    for part in (part for content in body["contents"] for part in content["parts"]):
        yield from unknown_fields(part, GOOGLE_PART_FIELDS)
        yield from unknown_fields(part.get("functionCall", {}), {"id", "name", "args"})
        yield from unknown_fields(part.get("functionResponse", {}), {"id", "name", "response", "parts"})
        if not isinstance(part.get("functionCall", {}).get("args", {}), dict):
            yield "Invalid value at 'contents.parts.function_call.args'"
    yield from google_turn_faults(body["contents"])


def declaration_faults(body: Any) -> Iterator[str]:
    for declaration in (one for tool in body.get("tools", ()) for one in tool["functionDeclarations"]):
        yield from unknown_fields(declaration, {"name", "description", "parameters", "parametersJsonSchema"})
        yield from unknown_fields(declaration.get("parameters", {}), GOOGLE_SCHEMA_FIELDS)
        if not re.fullmatch(r"[A-Za-z_][\w.:-]{0,127}", declaration["name"]):
            yield "Invalid function name."
    config = body.get("toolConfig", {}).get("functionCallingConfig", {})
    yield from unknown_fields(config, {"mode", "allowedFunctionNames"})
    if config.get("mode", "AUTO") not in ("AUTO", "ANY", "NONE", "VALIDATED"):
        yield "Invalid value at 'tool_config.function_calling_config.mode'"
    if "allowedFunctionNames" in config and config["mode"] not in ("ANY", "VALIDATED"):
        yield "Allowed function names should only be set when the function calling mode is ANY or VALIDATED."


def google_turn_faults(contents: Any) -> Iterator[str]:
    """Yield what is wrong with Google's turns: results are as many as the calls before, and stand in a turn of theirs.

    What the user says next is another turn: https://github.com/anomalyco/opencode/pull/43479, read 2026-11.
    """
    edge: Any = {"role": "model", "parts": []}
    for turn, reply in pairwise([edge, *contents, edge]):
        calls = [part for part in turn["parts"] if "functionCall" in part]
        responses = responses_in(reply)
        if turn["role"] == reply["role"] and not (reply["role"] == "user" and responses_in(turn)):
            yield "Please ensure that multiturn requests alternate between user and model."
        if calls and "thoughtSignature" not in calls[0]:
            yield "Function call is missing a thought_signature in functionCall parts."
        if sorted(call["functionCall"]["name"] for call in calls) != sorted(one["name"] for one in responses):
            yield (
                "Please ensure that the number of function response parts is equal to the number of function call"
                " parts of the function call turn."
            )
        if responses and len(responses) < len(reply["parts"]):
            yield "Requests ending with a model turn are not supported."


def responses_in(content: Any) -> list[Any]:
    return [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]


def unknown_fields(wire: Any, known: set[str]) -> Iterator[str]:
    yield from (f"Unknown name: {name}" for name in wire.keys() - known)


def function_faults(body: Any) -> Iterator[str]:
    """Yield what is wrong with tools of OpenAI's shape."""
    for tool in body.get("tools", ()):
        function = tool.get("function", {})
        if tool.get("type") != "function" or not function.get("name"):
            yield "Missing required parameter: 'tools[0].function'."
        elif function.get("parameters", {"type": "object"}).get("type") != "object":
            yield f"Invalid schema for function '{function['name']}': schema must be of the type object."
    if "tool_choice" in body and not body.get("tools"):
        yield "'tool_choice' is only allowed when 'tools' are specified."


def order_faults(messages: Any) -> Iterator[str]:
    """Yield what is wrong with the messages of OpenAI's shape: results come at once, one for each call."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and message.get("tool_call_id") not in waiting:
            yield "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
        elif message["role"] != "tool" and waiting:
            break
        waiting.discard(message.get("tool_call_id"))
        waiting |= {call["id"] for call in calls_of([message])}
    if waiting:
        yield "An assistant message with 'tool_calls' must be followed by tool messages to each 'tool_call_id'."


def calls_of(messages: Any) -> list[Any]:
    return [call for message in messages for call in message.get("tool_calls") or ()]


def blocks_of(message: Any) -> list[Any]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


RULES: dict[ProviderType, Callable[[Any], Iterator[str]]] = {
    ProviderType.OLLAMA: ollama_faults,
    ProviderType.OPENAI: openai_faults,
    ProviderType.ANTHROPIC: anthropic_faults,
    ProviderType.GOOGLE: google_faults,
    ProviderType.MISTRAL: mistral_faults,
    ProviderType.CUSTOM: openai_faults,
}
