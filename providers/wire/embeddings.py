"""Embeddings: OpenAI's format, which the hub serves, and what each provider is asked in.

Source: https://platform.openai.com/docs/api-reference/embeddings, https://ai.google.dev/api/embeddings,
https://docs.mistral.ai/api and https://docs.ollama.com/api/embed, read 2026-11.
"""

from __future__ import annotations

import base64
import binascii
import sys
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Required, cast

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, with_config
from typing_extensions import TypedDict

from providers.errors import MalformedReplyError, UnsupportedRequestError
from providers.types import JSONObject, Usage
from providers.wire.codec import EncodedRequest
from providers.wire.foreign import NOTHING
from providers.wire.json_access import count_or_none, list_at, object_or_empty, objects_at, text_or_none
from providers.wire.validation import check_body

Vector = tuple[float, ...]
Encoding = Literal["float", "base64"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EmbeddingsRequest:
    """Texts, or tokens of a text, of which each becomes a vector.

    Shape: `encoding` is how the caller wants numbers; `extra` are OpenAI's parameters that have no field here.
    Units: `size_bytes` is the size of the body that said all this; 0 where it is small, or there was none.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    model_name: str = ""
    dimensions: int | None = None
    encoding: Encoding = "float"
    user: str | None = None
    extra: Mapping[str, Any] | None = None
    size_bytes: int = 0
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EmbeddingsResponse:
    """A vector for each input, in their order. Shape: `usage` has no completion; None where nobody counts."""

    vectors: tuple[Vector, ...]
    model_name: str = ""
    usage: Usage | None = None
    dropped_params: tuple[str, ...] = ()


def _input_tag(value: Any) -> str:
    if not isinstance(value, list):
        return "text"
    kinds: dict[type, str] = {int: "tokens", list: "token_lists"}
    return kinds.get(type(value[0]), "texts") if value else "texts"


@with_config(ConfigDict(extra="allow", strict=True))
class EmbeddingsBody(TypedDict, total=False):
    model: Annotated[str | None, Field(max_length=512)]
    input: Required[
        Annotated[
            Annotated[str, Tag("text")]
            | Annotated[list[str], Field(min_length=1), Tag("texts")]
            | Annotated[list[int], Tag("tokens")]
            | Annotated[list[Annotated[list[int], Field(min_length=1)]], Tag("token_lists")],
            Discriminator(_input_tag),
            Field(description="One or more texts; tokens instead of text where the provider takes them."),
        ]
    ]
    dimensions: Annotated[int | None, Field(ge=1, description="How many numbers each vector is to have.")]
    encoding_format: Annotated[
        Literal["float", "base64"] | None, Field(description="`base64`: of little-endian 32-bit floats.")
    ]
    user: str | None


EMBEDDINGS_BODY: TypeAdapter[Any] = TypeAdapter(EmbeddingsBody)
_TYPED = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def decode_request(body: JSONObject) -> EmbeddingsRequest:
    """Errors: BadRequestError with the field's path."""
    check_body(EMBEDDINGS_BODY, body)
    return EmbeddingsRequest(
        inputs=_decode_input(body["input"]),
        model_name=body.get("model") or "",
        dimensions=body.get("dimensions"),
        encoding=body.get("encoding_format") or "float",
        user=body.get("user"),
        extra={key: value for key, value in body.items() if key not in _TYPED} or None,
    )


def _decode_input(value: Any) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value[0], int):
        return (tuple(value),)
    return tuple([one if isinstance(one, str) else tuple(one) for one in value])


def encode_reply(response: EmbeddingsResponse, request: EmbeddingsRequest) -> JSONObject:
    """Render the vectors as the caller wants their numbers."""
    encode = _to_base64 if request.encoding == "base64" else list
    tokens = response.usage.prompt_tokens if response.usage else 0
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(response.vectors)
        ],
        "model": response.model_name or request.model_name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _to_base64(vector: Vector) -> str:
    return base64.b64encode(_little_endian(array("f", vector)).tobytes()).decode()


def _little_endian(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def encode_openai_request(request: EmbeddingsRequest) -> EncodedRequest:
    """Translate a request, with all that it holds besides what is known."""
    return EncodedRequest({**(request.extra or NOTHING), **_common_body(request, dimensions="dimensions")})


def _common_body(request: EmbeddingsRequest, *, dimensions: str, has_user: bool = True) -> JSONObject:
    inputs = [one if isinstance(one, str) else list(one) for one in request.inputs]
    body: JSONObject = {"model": request.model_name, "input": inputs}
    if request.dimensions is not None:
        body[dimensions] = request.dimensions
    if has_user and request.user is not None:
        body["user"] = request.user
    return body


def decode_openai_reply(body: JSONObject) -> EmbeddingsResponse:
    """Translate an answer of OpenAI's shape, which is Mistral's too; vectors stand in the order of their indexes.

    Errors: MalformedReplyError.
    """
    rows = objects_at(body, "data")
    indexes = [count_or_none(row.get("index")) for row in rows]
    if sorted(index for index in indexes if index is not None) == list(range(len(rows))):
        rows = [row for _, row in sorted(zip(cast("list[int]", indexes), rows, strict=True), key=lambda pair: pair[0])]
    usage = object_or_empty(body.get("usage"))
    tokens = count_or_none(usage.get("prompt_tokens"))
    return _response(
        (row.get("embedding") for row in rows),
        model_name=text_or_none(body.get("model")),
        tokens=count_or_none(usage.get("total_tokens")) if tokens is None else tokens,
    )


def _response(values: Iterable[Any], *, model_name: str | None, tokens: int | None) -> EmbeddingsResponse:
    vectors = tuple([_decode_vector(value) for value in values])
    if not vectors:
        raise MalformedReplyError("The provider's answer holds no vectors.")
    usage = None if tokens is None else Usage(prompt_tokens=tokens, completion_tokens=0)
    return EmbeddingsResponse(vectors=vectors, model_name=model_name or "", usage=usage)


def _decode_vector(value: Any) -> Vector:
    """Read a vector, told as numbers or as the base64 of little-endian 32-bit floats."""
    try:
        if isinstance(value, str):
            numbers = array("f")
            numbers.frombytes(base64.b64decode(value, validate=True))
            return tuple(_little_endian(numbers))
        if isinstance(value, list):
            return tuple(array("d", value))
    except (TypeError, ValueError, OverflowError, binascii.Error):
        pass
    raise MalformedReplyError("The provider's vector is not a list of numbers.")


def encode_mistral_request(request: EmbeddingsRequest) -> EncodedRequest:
    _check_texts(request, "mistral")
    body = _common_body(request, dimensions="output_dimension", has_user=False)
    return EncodedRequest(body, _dropped_params(request))


decode_mistral_reply = decode_openai_reply


def encode_google_request(request: EmbeddingsRequest) -> EncodedRequest:
    """Translate a request to `batchEmbedContents`: each text is a request of its own, or they became one vector."""
    texts = _check_texts(request, "google")
    model = f"models/{request.model_name.removeprefix('models/')}"
    shape = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
    requests = [{"model": model, "content": {"parts": [{"text": text}]}, **shape} for text in texts]
    return EncodedRequest({"requests": requests}, _dropped_params(request))


def decode_google_reply(body: JSONObject) -> EmbeddingsResponse:
    """Errors: MalformedReplyError."""
    tokens = count_or_none(object_or_empty(body.get("usageMetadata")).get("promptTokenCount"))
    return _response((one.get("values") for one in objects_at(body, "embeddings")), model_name=None, tokens=tokens)


def encode_ollama_request(request: EmbeddingsRequest) -> EncodedRequest:
    """Translate a request to `/api/embed`; an overlong text is to be refused, not cut."""
    _check_texts(request, "ollama")
    body = _common_body(request, dimensions="dimensions", has_user=False) | {"truncate": False}
    return EncodedRequest(body, _dropped_params(request))


def decode_ollama_reply(body: JSONObject) -> EmbeddingsResponse:
    """Errors: MalformedReplyError."""
    return _response(
        list_at(body, "embeddings"),
        model_name=text_or_none(body.get("model")),
        tokens=count_or_none(body.get("prompt_eval_count")),
    )


def _check_texts(request: EmbeddingsRequest, provider_type: str) -> list[str]:
    """Errors: UnsupportedRequestError for tokens, which mean something to one tokenizer only."""
    texts = [one for one in request.inputs if isinstance(one, str)]
    if len(texts) != len(request.inputs):
        raise UnsupportedRequestError(
            f"The hub cannot send tokens instead of text to providers of type {provider_type}; "
            "LangChain sends text with `check_embedding_ctx_length=False`.",
            param="input",
        )
    return texts


def _dropped_params(request: EmbeddingsRequest) -> tuple[str, ...]:
    names = [key for key, value in (request.extra or NOTHING).items() if value is not None]
    return tuple(sorted(names if request.user is None else [*names, "user"]))


def check_count(response: EmbeddingsResponse, request: EmbeddingsRequest) -> None:
    """Errors: MalformedReplyError unless there is a vector for each input."""
    if len(response.vectors) != len(request.inputs):
        raise MalformedReplyError("The provider's answer does not have a vector for each input.")
