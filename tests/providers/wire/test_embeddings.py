import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from providers import errors
from providers.types import Usage
from providers.wire.embeddings import (
    EmbeddingsRequest,
    EmbeddingsResponse,
    check_count,
    decode_google_reply,
    decode_mistral_reply,
    decode_ollama_reply,
    decode_openai_reply,
    decode_request,
    encode_google_request,
    encode_mistral_request,
    encode_ollama_request,
    encode_openai_request,
    encode_reply,
)
from providers.wire.validation import BadRequestError
from tests.providers.wire.assembling import on_slow_machines_too

REQUEST = EmbeddingsRequest(inputs=("a", "b"), model_name="embed", dimensions=2, user="ada", extra={"x": 1, "y": None})
BARE = EmbeddingsRequest(inputs=("a",), model_name="embed")
TOKENS = EmbeddingsRequest(inputs=((1, 2), (3,)), model_name="embed")
VECTORS = ((0.5, -1.0), (0.25, 2.0))
TOLD = EmbeddingsResponse(vectors=VECTORS, model_name="embed", usage=Usage(prompt_tokens=7, completion_tokens=0))


def rows(*vectors):
    return [{"object": "embedding", "index": index, "embedding": list(one)} for index, one in enumerate(vectors)]


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
def test_each_form_of_input_is_read(value, inputs):
    assert decode_request({"model": "embed", "input": value}) == EmbeddingsRequest(inputs=inputs, model_name="embed")


def test_every_parameter_is_read():
    body = {"model": "m", "input": "a", "dimensions": 2, "encoding_format": "base64", "user": "ada", "x": 1}

    assert decode_request(body) == EmbeddingsRequest(
        inputs=("a",), model_name="m", dimensions=2, encoding="base64", user="ada", extra={"x": 1}
    )


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_parameter"),
        ({"input": None}, "input", None),
        ({"input": []}, "input", None),
        ({"input": [[]]}, "input[0]", None),
        ({"input": ["a", 1]}, "input[1]", None),
        ({"input": [1, "a"]}, "input[1]", None),
        ({"input": [[1], ["a"]]}, "input[1][0]", None),
        ({"input": "a", "dimensions": 0}, "dimensions", None),
        ({"input": "a", "dimensions": True}, "dimensions", None),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", None),
        ({"input": "a", "model": 1}, "model", None),
    ],
)
def test_a_body_at_fault_is_refused_by_its_path(body, param, code):
    with pytest.raises(BadRequestError) as caught:
        decode_request(body)

    assert (caught.value.param, caught.value.code) == (param, code)
    assert f"`{param}`" in str(caught.value)


def test_vectors_are_served_as_numbers():
    body = encode_reply(TOLD, REQUEST)

    assert body == {
        "object": "list",
        "data": rows(*VECTORS),
        "model": "embed",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    CreateEmbeddingResponse.model_validate(body)


def test_vectors_are_served_as_little_endian_floats():
    request = decode_request({"input": "a", "encoding_format": "base64"})

    [row] = encode_reply(EmbeddingsResponse(vectors=VECTORS[:1]), request)["data"]

    assert struct.unpack("<2f", base64.b64decode(row["embedding"])) == VECTORS[0]


@pytest.mark.parametrize(
    ("encode", "body", "dropped"),
    [
        (
            encode_openai_request,
            {"model": "embed", "input": ["a", "b"], "dimensions": 2, "user": "ada", "x": 1, "y": None},
            (),
        ),
        (encode_mistral_request, {"model": "embed", "input": ["a", "b"], "output_dimension": 2}, ("user", "x")),
        (
            encode_google_request,
            {
                "requests": [
                    {"model": "models/embed", "content": {"parts": [{"text": text}]}, "outputDimensionality": 2}
                    for text in "ab"
                ]
            },
            ("user", "x"),
        ),
        (
            encode_ollama_request,
            {"model": "embed", "input": ["a", "b"], "dimensions": 2, "truncate": False},
            ("user", "x"),
        ),
    ],
)
def test_each_provider_is_asked_in_its_words(encode, body, dropped):
    request = encode(REQUEST)

    assert (request.body, request.dropped_params) == (body, dropped)


def test_a_bare_request_has_nothing_more():
    assert encode_openai_request(BARE).body == {"model": "embed", "input": ["a"]}
    assert encode_mistral_request(BARE).body == {"model": "embed", "input": ["a"]}


def test_tokens_go_to_those_who_take_them():
    assert encode_openai_request(TOKENS).body["input"] == [[1, 2], [3]]


@pytest.mark.parametrize("encode", [encode_mistral_request, encode_google_request, encode_ollama_request])
def test_tokens_are_refused_for_the_others(encode):
    with pytest.raises(errors.UnsupportedRequestError, match="check_embedding_ctx_length=False") as caught:
        encode(TOKENS)

    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("decode", "body", "model_name"),
    [
        (
            decode_openai_reply,
            {"data": rows(*VECTORS)[::-1], "model": "embed", "usage": {"prompt_tokens": 7, "total_tokens": 7}},
            "embed",
        ),
        (decode_mistral_reply, {"data": rows(*VECTORS), "model": "embed", "usage": {"total_tokens": 7}}, "embed"),
        (
            decode_google_reply,
            {
                "embeddings": [{"values": list(one)} for one in VECTORS],
                "usageMetadata": {"promptTokenCount": 7},
            },
            "",
        ),
        (
            decode_ollama_reply,
            {"model": "embed", "embeddings": [list(one) for one in VECTORS], "prompt_eval_count": 7},
            "embed",
        ),
    ],
)
def test_each_provider_is_understood(decode, body, model_name):
    response = decode(body)

    assert (response.vectors, response.model_name) == (VECTORS, model_name)
    assert response.usage == Usage(prompt_tokens=7, completion_tokens=0)


def test_a_usage_nobody_tells_is_none():
    assert decode_openai_reply({"data": rows((1,)), "usage": None}).usage is None
    assert decode_ollama_reply({"embeddings": [[1]]}).usage is None


@pytest.mark.parametrize("value", [None, {}, ["a"], [None], "not base64!", "AAA=", [[1.0]]], ids=repr)
def test_a_vector_that_is_none_is_malformed(value):
    with pytest.raises(errors.MalformedReplyError):
        decode_openai_reply({"data": [{"embedding": value}]})


@pytest.mark.parametrize(
    ("decode", "body"),
    [(decode_openai_reply, {}), (decode_google_reply, {"embeddings": []}), (decode_ollama_reply, {"embeddings": {}})],
)
def test_a_reply_without_vectors_is_malformed(decode, body):
    with pytest.raises(errors.MalformedReplyError):
        decode(body)


def test_each_input_needs_its_vector():
    check_count(TOLD, REQUEST)
    with pytest.raises(errors.MalformedReplyError, match="for each input"):
        check_count(TOLD, BARE)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.slow
@given(st.lists(st.lists(floats, min_size=1, max_size=4).map(tuple), min_size=1, max_size=3), st.booleans())
@on_slow_machines_too
def test_vectors_survive_both_ways(vectors, is_base64):
    request = EmbeddingsRequest(inputs=("a",), model_name="embed", encoding="base64" if is_base64 else "float")
    response = EmbeddingsResponse(
        vectors=tuple(vectors), model_name="embed", usage=Usage(prompt_tokens=3, completion_tokens=0)
    )

    assert decode_openai_reply(encode_reply(response, request)) == response


inputs = st.lists(st.text(max_size=5), min_size=1, max_size=3) | st.lists(
    st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3
)


@given(inputs.map(tuple), st.none() | st.integers(1, 9), st.none() | st.text(max_size=3))
@on_slow_machines_too
def test_a_request_survives_both_ways(told, dimensions, user):
    request = EmbeddingsRequest(inputs=told, model_name="embed", dimensions=dimensions, user=user)

    assert decode_request(encode_openai_request(request).body) == request
