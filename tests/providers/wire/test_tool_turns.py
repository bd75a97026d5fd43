from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.types import ProviderType
from providers.wire import anthropic_messages, google, mistral, ollama, openai_chat
from tests.strict_fakes import RULES

pytestmark = pytest.mark.slow

TOOLS = [
    {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "now"}},
]
ENCODED = {
    ProviderType.OPENAI: lambda request: openai_chat.encode_request(request, stream=True),
    ProviderType.MISTRAL: lambda request: mistral.encode_request(request, stream=True),
    ProviderType.OLLAMA: lambda request: ollama.encode_request(request, stream=True),
    ProviderType.ANTHROPIC: lambda request: anthropic_messages.encode_request(
        request, stream=True, default_max_tokens=9
    ),
    ProviderType.GOOGLE: lambda request: google.encode_request(request, stream=True, thinking="level"),
}
HI = {"role": "user", "content": "Hi"}

texts = st.sampled_from(["", " ", "Hi"])
call_ids = st.sampled_from(["call_1", "D681PevKs", "functions.look:0", "toolu_1", "é"])


@st.composite
def tool_rounds(draw: st.DrawFn) -> list[Any]:
    """Draw calls, and their results in an order of their own."""
    ids = draw(st.lists(call_ids, min_size=1, max_size=3, unique=True))
    functions = st.fixed_dictionaries(
        {"name": st.sampled_from(["look", "now"]), "arguments": st.sampled_from(["", "{}", '{"q": "x"}'])}
    )
    calls = [{"id": call_id, "type": "function", "function": draw(functions)} for call_id in ids]
    results = [
        {"role": "tool", "tool_call_id": call_id, "content": draw(texts)} for call_id in draw(st.permutations(ids))
    ]
    return [{"role": "assistant", "content": draw(st.none() | texts), "tool_calls": calls}, *results]


messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "developer"]), "content": texts}
).map(lambda message: [message])


@pytest.mark.parametrize("provider_type", list(ENCODED))
@settings(max_examples=200, deadline=None)
@given(turns=st.lists(messages | tool_rounds(), max_size=6))
def test_a_conversation_with_tools_is_sent_as_each_provider_takes_it(provider_type, turns):
    conversation = [HI, *(message for turn in turns for message in turn), HI]
    request = openai_chat.decode_request({"model": "m", "messages": conversation, "tools": TOOLS})

    body = ENCODED[provider_type](request).body

    assert list(RULES[provider_type](body)) == []
