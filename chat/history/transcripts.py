"""A recorded chat as a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from chat.ledger.models import ChatContent, ContentKind
from llmhub.http.json_bounds import find_excess
from providers.bounds import MAX_JSON_VALUES
from providers.types import JSONObject

MAX_DEPTH = 200
"""The deepest nesting that JSON writers accept."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request or an answer, with files replaced by descriptions. Units: `size_bytes` as received."""

    data: bytes = field(repr=False)
    size_bytes: int
    has_files: bool = False

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True, repr=False)
class Transcript:
    """The messages of a chat.

    Shape: `turns` are `{"role", "content", …}` in the dialect of the request, the answers last. A body that holds no
    conversation is one turn with the role `request`. `attempt_errors` are the error messages of the failed attempts,
    in order. `bodies` are the sources, by the values of ContentKind.
    """

    turns: tuple[JSONObject, ...] = ()
    attempt_errors: tuple[str, ...] = ()
    bodies: Mapping[str, Body] = field(default_factory=dict)

    def explain(self, attempts: Iterable[JSONObject]) -> list[JSONObject]:
        """Add to each failed attempt its provider's error message; None if it is not stored."""
        messages = iter(self.attempt_errors)
        return [attempt | {"error": None if attempt["ok"] else next(messages, None)} for attempt in attempts]


def get_transcript(chat_id: UUID) -> Transcript:
    """Load the transcript of a chat; the caller records the read first. Runs one query."""
    contents = ChatContent.objects.filter(chat_id=chat_id).order_by("id")
    bodies = {content.part: Body(content.described(), content.size_bytes, content.has_files) for content in contents}
    answer = _parse(bodies.get(ContentKind.RESPONSE))
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return Transcript(
        turns=(*_request_turns(bodies.get(ContentKind.REQUEST)), *_response_turns(answer)),
        attempt_errors=tuple(str(error.get("message", "")) for error in errors or () if isinstance(error, dict)),
        bodies=bodies,
    )


def _request_turns(body: Body | None) -> Iterator[JSONObject]:
    request = _parse(body)
    if isinstance(request, dict) and isinstance(request.get("message"), str):
        yield {"role": "user", "content": request["message"]}
    elif isinstance(request, dict) and isinstance(request.get("messages"), list):
        yield from (_turn(message) for message in request["messages"])
    elif body and body.data:
        yield {"role": "request", "content": body.text}


def _response_turns(document: Any) -> Iterator[JSONObject]:
    answer = document.get("answer") if isinstance(document, dict) else None
    if not isinstance(answer, dict):
        return
    if isinstance(answer.get("choices"), list):
        yield from (_turn(choice.get("message")) for choice in answer["choices"] if isinstance(choice, dict))
    elif "content" in answer:
        calls = {"tool_calls": answer["tool_calls"]} if answer.get("tool_calls") else {}
        yield {"role": "assistant", "content": answer["content"], **calls}


def _turn(message: Any) -> JSONObject:
    return (
        {"role": None, "content": None, **message} if isinstance(message, dict) else {"role": None, "content": message}
    )


def _parse(body: Body | None) -> Any:
    """Parse a body under the same bounds as the gateway; return None if it is no acceptable JSON."""
    data = body.data if body else b""
    if find_excess(data, max_values=MAX_JSON_VALUES, max_depth=MAX_DEPTH):
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
