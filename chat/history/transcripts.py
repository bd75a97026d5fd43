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
"""No deeper than JSON writers take."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request or an answer with each of its files described in its place. Units: `size_bytes` as it came."""

    data: bytes = field(repr=False)
    size_bytes: int
    has_files: bool = False

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True, repr=False)
class Transcript:
    """What was said.

    Shape: `turns` are `{"role", "content", …}` in the dialect in which they came, the answers last; a body that is no
    conversation is one turn of the role `request`. `attempt_errors` are what providers said when they failed, in order.
    `bodies` are what they were read from, by the values of ContentKind.
    """

    turns: tuple[JSONObject, ...] = ()
    attempt_errors: tuple[str, ...] = ()
    bodies: Mapping[str, Body] = field(default_factory=dict)

    def explain(self, attempts: Iterable[JSONObject]) -> list[JSONObject]:
        """Return a chat's attempts, each that failed with what its provider said, None where that is not kept."""
        said = iter(self.attempt_errors)
        return [attempt | {"error": None if attempt["ok"] else next(said, None)} for attempt in attempts]


def get_transcript(chat_id: UUID) -> Transcript:
    """Read what was said in a chat: whoever shows it records that first. Runs one query."""
    kept = ChatContent.objects.filter(chat_id=chat_id).order_by("id")
    bodies = {content.part: Body(content.described(), content.size_bytes, content.has_files) for content in kept}
    answer = _parse(bodies.get(ContentKind.RESPONSE))
    errors = answer.get("errors") if isinstance(answer, dict) else None
    return Transcript(
        turns=(*_asked(bodies.get(ContentKind.REQUEST)), *_answered(answer)),
        attempt_errors=tuple(str(error.get("message", "")) for error in errors or () if isinstance(error, dict)),
        bodies=bodies,
    )


def _asked(body: Body | None) -> Iterator[JSONObject]:
    request = _parse(body)
    if isinstance(request, dict) and isinstance(request.get("message"), str):
        yield {"role": "user", "content": request["message"]}
    elif isinstance(request, dict) and isinstance(request.get("messages"), list):
        yield from (_turn(message) for message in request["messages"])
    elif body and body.data:
        yield {"role": "request", "content": body.text}


def _answered(kept: Any) -> Iterator[JSONObject]:
    answer = kept.get("answer") if isinstance(kept, dict) else None
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
    """Return a JSON document, as it was read for the provider; None where the body is none that can be shown as one."""
    data = body.data if body else b""
    if find_excess(data, max_values=MAX_JSON_VALUES, max_depth=MAX_DEPTH):
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
