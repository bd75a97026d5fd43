"""Puts the pieces of a streamed answer together again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from providers.types import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Choice,
    ChoiceDelta,
    FinishReason,
    JSONObject,
    ToolCall,
    Usage,
)

CHARACTERS_PER_TOKEN = 4


@dataclass(slots=True, repr=False)
class _Parts:
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, _Call] = field(default_factory=dict)
    extra: JSONObject = field(default_factory=dict)
    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None


@dataclass(slots=True, repr=False)
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    extra: JSONObject = field(default_factory=dict)


class Assembly:
    """What has come of a streamed answer so far."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.model_name: str | None = None
        self.upstream_id: str | None = None
        self.dropped_params: tuple[str, ...] = ()
        self._choices: dict[int, _Parts] = {}
        self._unfinished: set[int] = set()

    @property
    def is_finished(self) -> bool:
        """Whether every choice that has begun has its finish reason."""
        return bool(self._choices) and not self._unfinished

    def add_all(self, chunks: Iterable[ChatChunk], held: list[ChatChunk]) -> list[ChatChunk]:
        """Add chunks; return those after which the answer was not finished, and leave in `held` those after them."""
        free: list[ChatChunk] = []
        for chunk in chunks:
            self.add(chunk)
            held.append(chunk)
            if not self.is_finished:
                free += held
                held.clear()
        return free

    def add(self, chunk: ChatChunk) -> None:
        self.usage = chunk.usage or self.usage
        self.model_name = chunk.model_name or self.model_name
        self.upstream_id = chunk.upstream_id or self.upstream_id
        self.dropped_params = chunk.dropped_params or self.dropped_params
        for delta in chunk.choices:
            self._add_delta(delta)

    def _add_delta(self, delta: ChoiceDelta) -> None:
        parts = self._choices.get(delta.index)
        if parts is None:
            parts = self._choices[delta.index] = _Parts()
            self._unfinished.add(delta.index)
        if delta.content:
            parts.content.append(delta.content)
        if delta.reasoning:
            parts.reasoning.append(delta.reasoning)
        if delta.refusal:
            parts.refusal.append(delta.refusal)
        for piece in delta.tool_calls:
            call = parts.calls.setdefault(piece.index, _Call())
            call.id = piece.id or call.id
            call.name = piece.name or call.name
            call.arguments.append(piece.arguments)
            call.extra.update(piece.extra)
        if delta.extra:
            parts.extra.update(delta.extra)
        if delta.finish_reason:
            parts.finish_reason = delta.finish_reason
            self._unfinished.discard(delta.index)
        parts.native_finish_reason = delta.native_finish_reason or parts.native_finish_reason

    def response(self) -> ChatResponse:
        """Return what has come as an answer; choices that are not finished have no finish reason."""
        return ChatResponse(
            choices=tuple(_choice(index, parts) for index, parts in sorted(self._choices.items())),
            model_name=self.model_name or "",
            usage=self.usage,
            upstream_id=self.upstream_id,
            dropped_params=self.dropped_params,
        )


def _choice(index: int, parts: _Parts) -> Choice:
    return Choice(
        index=index,
        content="".join(parts.content) if parts.content or not parts.calls else None,
        reasoning="".join(parts.reasoning) or None,
        refusal="".join(parts.refusal) or None,
        tool_calls=tuple(
            ToolCall(call.id, call.name, "".join(call.arguments), call.extra) for _, call in sorted(parts.calls.items())
        ),
        finish_reason=parts.finish_reason,
        native_finish_reason=parts.native_finish_reason,
        extra=parts.extra,
    )


def estimated_usage(request: ChatRequest, response: ChatResponse) -> Usage:
    """Guess the tokens of a chat whose provider did not count them, from the length of its text."""
    prompt = sum(len(message.text) for message in request.messages)
    completion = sum(
        len(choice.content or "") + len(choice.reasoning or "") + sum(len(call.arguments) for call in choice.tool_calls)
        for choice in response.choices
    )
    return Usage(prompt_tokens=_tokens(prompt), completion_tokens=_tokens(completion), source="estimated")


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)
