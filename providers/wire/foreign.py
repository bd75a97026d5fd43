"""What a request says in another format than that it goes out in: refused where the answer hangs on it, else named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providers.errors import UnsupportedRequestError
from providers.types import ChatRequest, ImagePart, Part, Passthrough, Tool, ToolResultPart, WireFormat

REFUSED_PARAMS = (
    "audio", "function_call", "functions", "logit_bias", "logprobs", "response_format", "tool_choice",
    "web_search_options",
)  # fmt: skip
"""Parameters without which the caller would get another kind of answer than the one asked for."""

SAID_ELSEWHERE = frozenset({"max_completion_tokens"})
"""Names that a passthrough keeps of parameters that have a field as well."""

NOTHING: Mapping[str, Any] = {}


def own_fields(extra: Passthrough | None, format_: WireFormat) -> Mapping[str, Any]:
    """Return the fields of a passthrough that go out in this format."""
    return extra.fields if extra is not None and extra.format is format_ else NOTHING


def foreign_fields(extra: Passthrough | None, format_: WireFormat) -> Mapping[str, Any]:
    return extra.fields if extra is not None and extra.format is not format_ else NOTHING


def check_foreign_params(request: ChatRequest, format_: WireFormat, *, target: str) -> None:
    """Refuse parameters of another format that must not be lost.

    Shape: `target` names who is asked, such as `providers of type google`.
    Errors: UnsupportedRequestError naming the parameter.
    """
    fields = foreign_fields(request.extra, format_)
    if fields.get("modalities") not in (None, [], ["text"]):
        raise unsupported("modalities", target)
    for param in REFUSED_PARAMS:
        if fields.get(param):
            raise unsupported(param, target)


def unsupported(param: str, target: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(f"The hub cannot send `{param}` to {target}.", param=param)


def foreign_names(request: ChatRequest, format_: WireFormat) -> Iterator[str]:
    """Yield the names of what other formats say in a request, and this one leaves out."""
    fields = foreign_fields(request.extra, format_)
    yield from (key for key, value in fields.items() if value is not None and key not in SAID_ELSEWHERE)
    for message in request.messages:
        if message.extra is not None:
            yield from _names_in(message.extra, format_, "messages")
        yield from _names_in_parts(message.parts, format_)
    for tool in request.tools:
        if isinstance(tool, Tool) and tool.extra is not None:
            yield from _names_in(tool.extra, format_, "tools")


def _names_in_parts(parts: tuple[Part, ...], format_: WireFormat) -> Iterator[str]:
    for part in parts:
        if (extra := getattr(part, "extra", None)) is not None:
            yield from _names_in(extra, format_, "messages")
        if isinstance(part, ImagePart) and part.detail not in (None, "auto"):
            yield "messages.detail"
        if isinstance(part, ToolResultPart):
            yield from _names_in_parts(part.parts, format_)


def _names_in(extra: Passthrough, format_: WireFormat, place: str) -> Iterator[str]:
    yield from (f"{place}.{key}" for key, value in foreign_fields(extra, format_).items() if value)
