"""How much a model is to think: levels, and the tokens they stand for where a format counts tokens.

Source: https://ai.google.dev/gemini-api/docs/openai, which maps levels to budgets, read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping

from providers.types import Effort

BUDGET_TOKENS_OF_EFFORT: Mapping[Effort, int] = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24_576,
    "xhigh": 24_576,
    "max": 24_576,
}


def effort_of_budget(budget_tokens: int) -> Effort | None:
    """Return the level nearest above a budget; None for a negative one, which leaves it to the model."""
    if budget_tokens < 0:
        return None
    levels: tuple[Effort, ...] = ("none", "low", "medium")
    return next((level for level in levels if budget_tokens <= BUDGET_TOKENS_OF_EFFORT[level]), "high")
