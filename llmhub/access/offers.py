"""What there is to chat with: keys are restricted to some of it.

This app knows no providers: the app that does tells of them, once Django's apps are ready.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from llmhub.access.principals import Principal

Offers = Mapping[str, Sequence[str]]
"""The models of every provider, by its name."""

_sources: list[Callable[[], Offers]] = []


def offers_come_from(source: Callable[[], Offers]) -> None:
    _sources[:] = [source]


def get_offers() -> Offers:
    """Return what is offered now. Runs the queries of whoever tells."""
    return _sources[0]() if _sources else {}


def model_names(offers: Offers) -> list[str]:
    """The models as keys may name them: of one provider, then of any."""
    named = sorted(f"{provider}/{model}" for provider, models in offers.items() for model in models)
    return [*named, *sorted({model for models in offers.values() for model in models})]


def unmatched(providers: Iterable[str], models: Iterable[str], offers: Offers) -> list[str]:
    """Return the names among the restrictions of a key by which nothing goes now."""
    known = set(model_names(offers))
    return [*(name for name in providers if name not in offers), *(name for name in models if name not in known)]


def allows_nothing(providers: Iterable[str], models: Iterable[str], offers: Offers) -> bool:
    """Tell whether restrictions leave nothing of what is offered now."""
    principal = Principal(allowed_providers=frozenset(providers), allowed_models=frozenset(models))
    return not any(principal.may_use(provider, model) for provider, names in offers.items() for model in names)
