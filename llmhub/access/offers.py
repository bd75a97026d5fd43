"""The models on offer, to which keys can be restricted.

This app must not import providers: the providers app registers itself as the source.
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
    """Return the current offers. Runs the source's queries."""
    return _sources[0]() if _sources else {}


def model_names(offers: Offers) -> list[str]:
    """Return the model names that keys may list: `provider/model` first, then `model`."""
    qualified = sorted(f"{provider}/{model}" for provider, models in offers.items() for model in models)
    return [*qualified, *sorted({model for models in offers.values() for model in models})]


def unmatched(providers: Iterable[str], models: Iterable[str], offers: Offers) -> list[str]:
    """Return the names in a key's restrictions that match nothing on offer."""
    names_on_offer = set(model_names(offers))
    return [
        *(name for name in providers if name not in offers),
        *(name for name in models if name not in names_on_offer),
    ]


def allows_nothing(providers: Iterable[str], models: Iterable[str], offers: Offers) -> bool:
    """Whether restrictions exclude everything on offer."""
    principal = Principal(allowed_providers=frozenset(providers), allowed_models=frozenset(models))
    return not any(principal.may_use(provider, model) for provider, names in offers.items() for model in names)
