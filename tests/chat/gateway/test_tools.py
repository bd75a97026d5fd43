from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from chat.history.transcripts import get_transcript
from providers.types import ProviderType
from tests.fake_formats import SIGNATURE, Script, ScriptedCall
from tests.fakes import Answer
from tests.live import LiveHub
from tests.strict_fakes import StrictProvider

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is it warmer?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather in a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CITIES = [{"city": "Zürich"}, {"city": "Oslo"}]
CALLING = Script(
    text="Let me look.", finish_reason="tool_calls", calls=tuple(ScriptedCall("get_weather", city) for city in CITIES)
)
NAMED = {"type": "function", "function": {"name": "get_weather"}}

whole_and_streamed = pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def providers(running_hub: LiveHub) -> Iterator[dict[str, StrictProvider]]:
    """One provider of each type, which the tests share: what they configure is the same."""
    running_hub.reset()
    with ExitStack() as stack:
        fakes = {kind.value: stack.enter_context(StrictProvider(kind)) for kind in ProviderType}
        for kind, fake in fakes.items():
            running_hub.add_provider(fake, name=f"my-{kind}", provider_type=kind, api_key="sk-ant-0123456789")
        yield fakes
    running_hub.reset()


@pytest.fixture(params=list(ProviderType))
def provider(request: pytest.FixtureRequest, providers: dict[str, StrictProvider]) -> StrictProvider:
    fake = providers[request.param]
    fake.script = CALLING
    fake.requests.clear()
    return fake


@pytest.fixture(scope="module")
def sdk(providers: dict[str, StrictProvider], running_hub: LiveHub) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running_hub.url}/v1", api_key=running_hub.issue_key(), max_retries=0) as client:
        yield client


def ask(
    sdk: openai.OpenAI, provider: StrictProvider, messages: Any, *, is_stream: bool = False, **params: Any
) -> ChatCompletion:
    """Ask the hub for the provider's answer; of a stream, return the completion that the SDK puts together."""
    asked = {"model": f"my-{provider.provider_type}/m", "messages": messages, "tools": [TOOL], **params}
    if not is_stream:
        return sdk.chat.completions.create(**asked)
    with sdk.chat.completions.stream(**asked) as stream:
        return stream.get_final_completion()


def called(completion: ChatCompletion) -> list[tuple[str, Any]]:
    calls = completion.choices[0].message.tool_calls or []
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls]


def results(completion: ChatCompletion) -> list[Any]:
    calls = completion.choices[0].message.tool_calls
    return [{"role": "tool", "tool_call_id": call.id, "content": f"{n} degrees"} for n, call in enumerate(calls)]


@whole_and_streamed
def test_the_sdk_gets_both_of_two_parallel_calls_once_and_in_order(provider, sdk, is_stream):
    completion = ask(sdk, provider, ASK, is_stream=is_stream)

    choice = completion.choices[0]
    assert called(completion) == [("get_weather", city) for city in CITIES]
    assert [call.id for call in choice.message.tool_calls] == [provider.format.call_id(n) for n in range(2)]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me look."


@whole_and_streamed
def test_the_results_of_both_calls_lead_to_the_final_answer(provider, sdk, is_stream):
    calling = ask(sdk, provider, ASK, is_stream=is_stream)
    provider.script = Script(text="In Oslo.")

    final = ask(sdk, provider, [*ASK, calling.choices[0].message, *results(calling)], is_stream=is_stream)

    assert final.choices[0].message.content == "In Oslo."
    assert final.choices[0].finish_reason == "stop"
    assert len(provider.chats) == 2


@whole_and_streamed
@pytest.mark.parametrize("provider", ["google"], indirect=True)
def test_google_gets_its_own_signature_back_through_the_sdk(provider, sdk, is_stream):
    calling = ask(sdk, provider, ASK, is_stream=is_stream)

    ask(sdk, provider, [*ASK, calling.choices[0].message, *results(calling)])

    parts = provider.chats[1].json["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, SIGNATURE, None]


@whole_and_streamed
def test_the_user_may_go_on_after_the_tools(provider, sdk, is_stream):
    calling = ask(sdk, provider, ASK, is_stream=is_stream)
    provider.script = Script(text="In Oslo.")
    more = {"role": "user", "content": "Be quick."}

    final = ask(sdk, provider, [*ASK, calling.choices[0].message, *results(calling), more], is_stream=is_stream)

    assert final.choices[0].message.content == "In Oslo."


def test_the_model_may_call_again_after_the_results(provider, sdk):
    first = ask(sdk, provider, ASK)
    asked = [*ASK, first.choices[0].message, *results(first)]

    second = ask(sdk, provider, asked)

    provider.script = Script(text="In Oslo.")
    final = ask(sdk, provider, [*asked, second.choices[0].message, *results(second)])
    assert called(second) == called(first)
    assert final.choices[0].message.content == "In Oslo."


@pytest.mark.parametrize("provider", sorted(set(ProviderType) - {"ollama"}), indirect=True)
def test_a_call_whose_result_is_missing_is_refused(provider, sdk):
    calling = ask(sdk, provider, ASK)

    with pytest.raises(openai.BadRequestError):
        ask(sdk, provider, [*ASK, calling.choices[0].message, *results(calling)[1:]])


@whole_and_streamed
def test_a_tool_may_have_no_parameters(provider, sdk, is_stream):
    provider.script = replace(CALLING, calls=(ScriptedCall("now", {}),))
    now = {"type": "function", "function": {"name": "now", "strict": True}}

    calling = ask(sdk, provider, ASK, is_stream=is_stream, tools=[now])

    assert called(calling) == [("now", {})]


@pytest.mark.parametrize("beginner", list(ProviderType))
def test_a_conversation_whose_calls_one_provider_made_goes_on_at_another(providers, provider, sdk, beginner):
    providers[beginner].script = CALLING
    calling = ask(sdk, providers[beginner], ASK)
    provider.script = Script(text="In Oslo.")

    final = ask(sdk, provider, [*ASK, calling.choices[0].message, *results(calling)])

    assert final.choices[0].message.content == "In Oslo."


@whole_and_streamed
def test_the_ledger_holds_both_calls(running_hub, provider, sdk, is_stream):
    calling = ask(sdk, provider, ASK, is_stream=is_stream)

    recorded = get_transcript(running_hub.last_chat().pk).turns[-1]["tool_calls"]
    answered = calling.choices[0].message.tool_calls
    assert [call["id"] for call in recorded] == [call.id for call in answered]
    assert [json.loads(call["function"]["arguments"]) for call in recorded] == CITIES


def in_odd_bytes(answer: Answer) -> Answer:
    """Let an answer come in pieces of seven bytes, which end anywhere in a frame."""
    sent = b"".join(answer.bodies())
    return replace(answer, pieces=tuple(sent[start : start + 7] for start in range(0, len(sent), 7)))


def test_calls_that_come_in_pieces_cut_anywhere_are_the_same(provider, sdk):
    provider.fail(in_odd_bytes)

    completion = ask(sdk, provider, ASK, is_stream=True)

    assert called(completion) == [("get_weather", city) for city in CITIES]


OPENAI_CHOICES = {"required": "required", "none": "none", "named": NAMED}
CHOICES_AS_SENT: dict[str, dict[str, Any]] = {
    "openai": OPENAI_CHOICES,
    "custom": OPENAI_CHOICES,
    "mistral": {**OPENAI_CHOICES, "required": "any"},
    "anthropic": {
        "required": {"type": "any"},
        "none": {"type": "none"},
        "named": {"type": "tool", "name": "get_weather"},
    },
    "google": {
        "required": {"functionCallingConfig": {"mode": "ANY"}},
        "none": {"functionCallingConfig": {"mode": "NONE"}},
        "named": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}},
    },
}


@pytest.mark.parametrize("choice", list(OPENAI_CHOICES))
@pytest.mark.parametrize("provider", list(CHOICES_AS_SENT), indirect=True)
def test_the_choice_of_tools_reaches_the_provider_in_its_own_words(provider, sdk, choice):
    ask(sdk, provider, ASK, tool_choice=OPENAI_CHOICES[choice])

    sent = provider.chats[0].json
    assert (sent.get("tool_choice") or sent.get("toolConfig")) == CHOICES_AS_SENT[provider.provider_type][choice]
    assert len(sent["tools"]) == 1


@pytest.mark.parametrize("provider", ["ollama"], indirect=True)
def test_ollama_gets_no_tools_where_none_is_to_be_called(provider, sdk):
    ask(sdk, provider, ASK, tool_choice="none")

    assert "tools" not in provider.chats[0].json


@pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
@pytest.mark.parametrize("provider", ["ollama"], indirect=True)
def test_a_call_that_must_be_made_is_refused_for_ollama_which_cannot_be_told_so(provider, sdk, choice):
    with pytest.raises(openai.BadRequestError, match="tool_choice") as raised:
        ask(sdk, provider, ASK, tool_choice=choice)

    assert raised.value.code == "unsupported_by_provider"
    assert provider.chats == []
