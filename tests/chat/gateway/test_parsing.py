import json

import pytest

from chat.gateway.parsing import read_json, refuse_routing_fields
from providers.wire.validation import BadRequestError

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"{", "not valid JSON", id="cut"),
        pytest.param(b"hello", "not valid JSON", id="text"),
        pytest.param(b'{"a": NaN}', "not valid JSON", id="not-a-number"),
        pytest.param(b'{"a": "\xff"}', "not encoded in UTF-8", id="not-utf-8"),
        pytest.param(rb'{"a": "\ud800"}', "not valid JSON", id="half-a-surrogate-pair"),
        pytest.param(b"[" * 5000, "not valid JSON", id="too-deep"),
        pytest.param(b"[]", "not a list", id="list"),
        pytest.param(b'"a"', "not a string", id="string"),
        pytest.param(b"1", "not a number", id="number"),
        pytest.param(b"true", "not true or false", id="boolean"),
        pytest.param(b"null", "not null", id="null"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_in_words(body, words):
    with pytest.raises(BadRequestError, match=words) as found:
        read_json(body)

    assert found.value.code == "invalid_json"


def test_the_refusal_of_a_body_does_not_repeat_it():
    with pytest.raises(BadRequestError) as found:
        read_json(b'{"messages": "canary-of-the-tests", }')

    assert "canary" not in str(found.value)


ROUTING = (
    "api_key", "api_base", "base_url", "api_version", "api_type", "custom_llm_provider", "endpoint", "proxy",
    "extra_headers",
)  # fmt: skip


@pytest.mark.parametrize("name", ROUTING)
@pytest.mark.parametrize("value", ["http://attacker.example", None, {}])
def test_what_would_choose_address_or_key_is_refused_at_the_top(name, value):
    with pytest.raises(BadRequestError, match=f"`{name}` cannot be set by a caller") as found:
        refuse_routing_fields({"messages": HELLO, name: value})

    assert (found.value.param, found.value.code) == (name, "forbidden_parameter")


@pytest.mark.parametrize("holder", ["extra_body", "extra_query", "litellm_params", "model_kwargs", "provider_options"])
@pytest.mark.parametrize("name", ["api_key", "api_base", "base_url"])
def test_what_would_choose_address_or_key_is_refused_in_extension_objects(holder, name):
    with pytest.raises(BadRequestError) as found:
        refuse_routing_fields({"messages": HELLO, holder: {name: "http://attacker.example"}})

    assert (found.value.param, found.value.code) == (f"{holder}.{name}", "forbidden_parameter")
    assert "attacker" not in str(found.value)


@pytest.mark.parametrize(
    ("smuggled", "param"),
    [
        pytest.param({"extra_body": {"litellm_params": {"api_base": "u"}}}, "extra_body.api_base", id="in-an-object"),
        pytest.param(
            {"litellm_params": {"fallbacks": [{}, {"base_url": "u"}]}}, "litellm_params.base_url", id="in-both"
        ),
        pytest.param({"extra_body": [{"api_key": "k"}]}, "extra_body.api_key", id="in-a-list"),
    ],
)
def test_nothing_is_smuggled_deep_inside_an_extension_object(smuggled, param):
    with pytest.raises(BadRequestError) as found:
        refuse_routing_fields({"messages": HELLO, **smuggled})

    assert (found.value.param, found.value.code) == (param, "forbidden_parameter")


def test_no_depth_hides_what_is_smuggled():
    deep = b'{"extra_body": ' + b'{"a": [' * 500 + b'{"api_key": "k"}' + b"]}" * 500 + b"}"

    with pytest.raises(BadRequestError, match="api_key"):
        refuse_routing_fields(read_json(deep))


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "my api_key", "base_url": "u"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "api_key": "k"}]}]},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"api_key": {}}}}}]},
        {"tool_choice": {"type": "function", "function": {"name": "api_key"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"base_url": {}}}}}},
        {"metadata": {"api_key": "the user's own", "base_url": "u"}},
        {"extra_body": {"top_k": 1}},
        {"extra_body": "text"},
        {"extra_body": None},
    ],
)
def test_the_same_names_in_messages_tools_and_metadata_are_the_users_own(body):
    before = json.dumps(body)

    refuse_routing_fields(body)

    assert json.dumps(body) == before
