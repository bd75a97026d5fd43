"""How large an answer may be: what the hub hands on it also keeps, whole."""

from __future__ import annotations

from providers.errors import AnswerTooLargeError
from providers.types import ChatResponse, ToolCallPart

MAX_REPLY_BYTES = 32 * 1024 * 1024
MAX_CHOICES = 128
MAX_TOOL_CALLS = 1024
MAX_JSON_VALUES = 1_000_000
"""In a reply, or a frame of a stream."""


def check_answer(response: ChatResponse) -> None:
    """Errors: AnswerTooLargeError."""
    check_choices(len(response.choices))
    check_tool_calls(sum(isinstance(part, ToolCallPart) for choice in response.choices for part in choice.parts))


def check_choices(count: int) -> None:
    """Errors: AnswerTooLargeError."""
    if count > MAX_CHOICES:
        raise AnswerTooLargeError(f"The provider sent more than {MAX_CHOICES} choices.")


def check_tool_calls(count: int) -> None:
    """Errors: AnswerTooLargeError."""
    if count > MAX_TOOL_CALLS:
        raise AnswerTooLargeError(f"The provider sent more than {MAX_TOOL_CALLS} tool calls.")
