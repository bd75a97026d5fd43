"""What the wire formats that are not OpenAI's share: the conversation as turns, and what they cannot carry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from providers.errors import RequestRejectedError, UnsupportedRequestError
from providers.types import ChatMessage, ChatRequest, ContentPart, ImagePart, OpaquePart, ProviderType, TextPart

REFUSED_EXTRA = ("audio", "function_call", "functions", "logit_bias", "logprobs", "web_search_options")
"""Parameters without which the caller would get another kind of answer than the one asked for."""

NEWER_LENGTH_PARAM = "max_completion_tokens"

_DATA_URL = re.compile(r"data:(?P<media_type>[\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[^;,]*)*;base64,(?P<data>.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Turn:
    """Neighbouring messages of one side, joined; blank texts are left out."""

    role: Literal["user", "assistant"]
    parts: tuple[TextPart | ImagePart, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat for formats that know two sides and keep the instructions apart.

    Shape: `system` are the instructions before the first turn; later ones stand among the user's turns.
    """

    system: tuple[str, ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class InlineImage:
    """An image inside a request. Shape: `data` is base64."""

    media_type: str
    data: str


def conversation(request: ChatRequest, provider_type: ProviderType) -> Conversation:
    """Return the request's messages as turns.

    Errors: RequestRejectedError when nobody says anything.
    """
    instructions = tuple(takewhile(_is_instruction, request.messages))
    turns = _joined(request.messages[len(instructions) :])
    if not turns:
        raise RequestRejectedError(
            f"Providers of type {provider_type} need at least one message of the user.", param="messages"
        )
    return Conversation(tuple(message.text for message in instructions if message.text.strip()), turns)


def check_translatable(request: ChatRequest, provider_type: ProviderType) -> None:
    """Refuse what would be lost on the way to a provider of this type.

    Errors: UnsupportedRequestError naming the parameter.
    """
    for param in _untranslatable(request):
        raise UnsupportedRequestError(
            f"The hub cannot send `{param}` to providers of type {provider_type}.", param=param
        )
    for message in request.messages:
        _check_message(message, provider_type)


def max_tokens_of(request: ChatRequest) -> int | None:
    """Return how long the answer may be, under either of the names that OpenAI has for it.

    Errors: RequestRejectedError unless it is a whole number from 1.
    """
    value = request.extra.get(NEWER_LENGTH_PARAM)
    if value is None:
        return request.max_tokens
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestRejectedError(
            f"`{NEWER_LENGTH_PARAM}` must be a whole number of at least 1.", param=NEWER_LENGTH_PARAM
        )
    return value


def dropped_params(request: ChatRequest, params: Iterable[str]) -> tuple[str, ...]:
    """Return which of `params` the caller gave, with what no format but OpenAI's knows, sorted."""
    dropped = {param for param in params if getattr(request, param) is not None}
    dropped.update(key for key, value in request.extra.items() if value is not None and key != NEWER_LENGTH_PARAM)
    for message in request.messages:
        dropped.update(_dropped_of(message))
    return tuple(sorted(dropped))


def parts_of(message: ChatMessage) -> tuple[ContentPart, ...]:
    if isinstance(message.content, str):
        return (TextPart(message.content),)
    return message.content or ()


def inline_image(image: ImagePart) -> InlineImage | None:
    """Return the image of a `data:` URL, None for one that lies elsewhere.

    Errors: RequestRejectedError for a URL that is neither.
    """
    if re.match(r"https?://", image.url, re.IGNORECASE):
        return None
    found = _DATA_URL.fullmatch(image.url)
    if found is None:
        raise RequestRejectedError("An image must be an http(s) URL or a base64 `data:` URL.", param="messages")
    return InlineImage(found["media_type"], found["data"])


def _is_instruction(message: ChatMessage) -> bool:
    return message.role in ("system", "developer")


def _joined(messages: Iterable[ChatMessage]) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for message in messages:
        role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
        parts = _parts(message)
        if parts and turns and turns[-1].role == role:
            turns[-1] = Turn(role, turns[-1].parts + parts)
        elif parts:
            turns.append(Turn(role, parts))
    return tuple(turns)


def _parts(message: ChatMessage) -> tuple[TextPart | ImagePart, ...]:
    return tuple(
        part
        for part in parts_of(message)
        if isinstance(part, ImagePart) or (isinstance(part, TextPart) and part.text.strip())
    )


def _untranslatable(request: ChatRequest) -> Iterable[str]:
    if request.tools:
        yield "tools"
    if request.tool_choice not in (None, "auto", "none"):
        yield "tool_choice"
    if request.response_format is not None and request.response_format.get("type") != "text":
        yield "response_format"
    if request.n is not None and request.n > 1:
        yield "n"
    if request.extra.get("modalities") not in (None, [], ["text"]):
        yield "modalities"
    yield from (param for param in REFUSED_EXTRA if request.extra.get(param))


def _check_message(message: ChatMessage, provider_type: ProviderType) -> None:
    if message.tool_calls or message.role in ("tool", "function"):
        raise _refused("tool calls and their results", provider_type)
    for part in parts_of(message):
        if isinstance(part, OpaquePart):
            raise _refused("content other than text and plain images", provider_type)
        if isinstance(part, ImagePart) and message.role != "user":
            raise _refused(f"images in a message of the role `{message.role}`", provider_type)


def _refused(what: str, provider_type: ProviderType) -> UnsupportedRequestError:
    return UnsupportedRequestError(
        f"The hub cannot send {what} to providers of type {provider_type}.", param="messages"
    )


def _dropped_of(message: ChatMessage) -> Iterable[str]:
    yield from (f"messages.{key}" for key, value in message.extra.items() if value)
    for part in parts_of(message):
        if isinstance(part, TextPart | ImagePart):
            yield from (f"messages.{key}" for key in part.extra)
        if isinstance(part, ImagePart) and part.detail not in (None, "auto"):
            yield "messages.detail"
