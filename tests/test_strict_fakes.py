from __future__ import annotations

from typing import Any

import httpx
import pytest

from providers.types import ProviderType
from tests.providers.backends.mutations import changed
from tests.strict_fakes import StrictProvider

Wrong = tuple[tuple[str | int, ...], Any, str]
"""What stands wrong in a request: where, what, and words of its refusal."""

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
USER = {"role": "user", "content": "?"}


def call(call_id, **arguments):
    return {"id": call_id, "type": "function", "function": {"name": "look", **arguments}}


OPENAI = {
    "model": "m",
    "messages": [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call("call_1", arguments="{}")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        USER,
    ],
    "tools": [FUNCTION],
    "tool_choice": "auto",
}
MISTRAL = {
    "model": "m",
    "messages": [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [call("D681PevKs", arguments="{}")]},
        {"role": "tool", "tool_call_id": "D681PevKs", "content": "42"},
    ],
    "tools": [FUNCTION],
}
OLLAMA = {
    "model": "m",
    "messages": [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [call("call_1", arguments={})], "mood": "fine"},
        {"role": "tool", "tool_name": "look", "content": "42"},
    ],
    "tools": [FUNCTION],
    "stream": False,
}
ANTHROPIC = {
    "model": "m",
    "max_tokens": 9,
    "messages": [
        USER,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"},
                {"type": "text", "text": "Well?"},
            ],
        },
    ],
    "tools": [{"name": "look", "input_schema": SCHEMA}],
}
GOOGLE = {
    "contents": [
        {"role": "user", "parts": [{"text": "?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "CrYB"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"output": "42"}}}]},
        {"role": "user", "parts": [{"text": "Well?"}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "look", "parameters": SCHEMA}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
}
BODIES = {
    ProviderType.OPENAI: OPENAI,
    ProviderType.CUSTOM: OPENAI,
    ProviderType.MISTRAL: MISTRAL,
    ProviderType.OLLAMA: OLLAMA,
    ProviderType.ANTHROPIC: ANTHROPIC,
    ProviderType.GOOGLE: GOOGLE,
}
CALL = ("messages", 1, "tool_calls", 0)
TURN = ("messages", 1, "content", 0)
DECLARATION = ("tools", 0, "functionDeclarations", 0)


WRONG_TOOLS: list[Wrong] = [
    (("tools", 0, "type"), ..., "tools[0].function"),
    (("tools", 0, "function", "name"), ..., "tools[0].function"),
    (("tools", 0, "function", "parameters"), {"type": "string"}, "Invalid schema for function"),
]
WRONG_OF_OPENAI: list[Wrong] = [
    *WRONG_TOOLS,
    (("num_ctx",), 1, "Unknown name: num_ctx"),
    (("tools",), ..., "tool_choice"),
    ((*CALL, "function", "arguments"), {}, "expected a string"),
    ((*CALL, "function", "arguments"), "{", "not valid JSON"),
    (("messages", 2, "tool_call_id"), "call_2", "must be a response"),
    (("messages", 2), ..., "must be followed by"),
    (("messages", 1), ..., "must be a response"),
]
WRONG: dict[ProviderType, list[Wrong]] = {
    ProviderType.OPENAI: WRONG_OF_OPENAI,
    ProviderType.CUSTOM: WRONG_OF_OPENAI,
    ProviderType.MISTRAL: [
        *WRONG_TOOLS,
        (("tools", 0, "function", "parameters"), ..., "parameters: Field required"),
        (("seed",), 1, "Unknown name: seed"),
        (("messages", 0, "name"), "ann", "Unknown name: name"),
        ((*CALL, "extra_content"), {}, "Unknown name: extra_content"),
        ((*CALL, "id"), "call_1", "Tool call id was call_1"),
        (("messages", 2, "tool_call_id"), "D681PevKt", "must be a response"),
        (("messages", 3), USER, "role 'user' after role 'tool'"),
        (("messages", 3), {"role": "assistant", "content": "And"}, "Expected last role"),
    ],
    ProviderType.OLLAMA: [
        *WRONG_TOOLS,
        ((*CALL, "function", "arguments"), "{}", "Value looks like object"),
        (("messages", 2, "tool_name"), ..., "names neither"),
        (("messages", 0, "content"), [{"type": "text", "text": "?"}], "cannot unmarshal array"),
    ],
    ProviderType.ANTHROPIC: [
        (("seed",), 1, "Unknown name: seed"),
        (("max_tokens",), ..., "max_tokens"),
        (("tools", 0, "name"), ..., "input_schema"),
        (("tools", 0, "input_schema"), {}, "input_schema"),
        ((*TURN, "id"), "functions.look:0", "tool_use.id"),
        ((*TURN, "input"), "{}", "tool_use.input"),
        (("messages", 0), ..., "roles must alternate"),
        (("messages", 1, "role"), "user", "roles must alternate"),
        (("messages", 2), ..., "without `tool_result`"),
        (("messages", 2, "content"), [{"type": "text", "text": "Well?"}], "without `tool_result`"),
        (("messages", 2, "content"), ANTHROPIC["messages"][2]["content"][::-1], "without `tool_result`"),
        (("messages", 2, "content", 0, "tool_use_id"), "toolu_2", "without `tool_result`"),
        (("messages", 2, "content", 1, "text"), " ", "must be non-empty"),
        (("messages", 1, "content"), "I will not.", "unexpected `tool_use_id`"),
    ],
    ProviderType.GOOGLE: [
        (("messages",), [], "Unknown name: messages"),
        ((*DECLARATION, "strict"), True, "Unknown name: strict"),
        ((*DECLARATION, "name"), "look at", "Invalid function name"),
        ((*DECLARATION, "parameters", "additionalProperties"), False, "Unknown name: additionalProperties"),
        (("toolConfig", "functionCallingConfig", "mode"), "REQUIRED", "function_calling_config.mode"),
        (("toolConfig", "functionCallingConfig", "allowedFunctionNames"), ["look"], "only be set when"),
        (("contents", 0), ..., "alternate"),
        (("contents", 3, "role"), "model", "alternate between"),
        (("contents", 1, "parts", 0, "thoughtSignature"), ..., "missing a thought_signature"),
        (("contents", 1, "parts", 0, "functionCall", "args"), "{}", "function_call.args"),
        (("contents", 1, "parts", 0, "cache_control"), {}, "Unknown name: cache_control"),
        (("contents", 2), ..., "number of function response parts"),
        (("contents", 2, "parts", 0, "functionResponse", "name"), "see", "number of function response parts"),
        (("contents", 2, "parts"), 2 * GOOGLE["contents"][2]["parts"], "number of function response parts"),
        (("contents", 2, "parts"), [*GOOGLE["contents"][2]["parts"], {"text": "Well?"}], "ending with a model turn"),
    ],
}


def answer_to(provider_type: ProviderType, body: Any) -> httpx.Response:
    with StrictProvider(provider_type) as fake:
        path = "/models/m:generateContent" if provider_type == "google" else fake.format.chat_path
        return httpx.post(fake.url + path, json=body)


@pytest.mark.parametrize("provider_type", list(ProviderType))
def test_a_right_request_is_answered(provider_type):
    assert answer_to(provider_type, BODIES[provider_type]).status_code == 200


@pytest.mark.parametrize(
    ("provider_type", "path", "wrong", "words"),
    [pytest.param(kind, *wrong, id=f"{kind}: {wrong[-1]}") for kind, listed in WRONG.items() for wrong in listed],
)
def test_a_wrong_request_is_refused_for_what_is_wrong_in_it(provider_type, path, wrong, words):
    refusal = answer_to(provider_type, changed(BODIES[provider_type], path, wrong))

    assert refusal.status_code == 400
    assert words in refusal.text
