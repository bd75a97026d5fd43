"""The providers in memory, as chats are routed to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from llmhub.access.secrets import Secret
from llmhub.runtime.live_snapshot import CONFIGURATION, LiveSnapshot
from providers.key_places import key_place
from providers.models import Health, ProviderConfig, ProviderModel
from providers.types import NOTHING, Extra, Price, ProviderType

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    name: str
    listed: bool
    allowed: bool
    price: Price
    first_seen_at: datetime
    capabilities: frozenset[str] = frozenset()
    """What the model takes and does, as ModelInfo has it; empty where nobody told."""

    @property
    def is_offered(self) -> bool:
        return self.listed and self.allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEntry:
    """A provider as it is routed to."""

    name: str
    provider_type: ProviderType
    base_url: str
    api_key: Secret | None = field(default=None, repr=False)
    default_model: str = ""
    enabled: bool = True
    is_default: bool = False
    priority: int = 100
    rate_limit: int | None = None
    timeout_s: int = 60
    settings: Extra = field(default=NOTHING, repr=False)
    health: Health = Health.UNKNOWN
    models: Mapping[str, ModelEntry] = NOTHING
    forbidden: frozenset[str] = field(init=False, repr=False)
    """The models that are switched off, by the names that all their spellings share."""

    def __post_init__(self) -> None:
        forbidden = frozenset(_shared_name(model.name) for model in self.models.values() if not model.allowed)
        object.__setattr__(self, "forbidden", forbidden)

    def forbids(self, model_name: str) -> bool:
        return bool(self.forbidden) and _shared_name(model_name) in self.forbidden

    @property
    def key_place(self) -> str:
        return key_place(self.provider_type, self.base_url, self.settings)

    @property
    def is_unhealthy(self) -> bool:
        return self.health is Health.UNHEALTHY

    @property
    def serves_only_listed(self) -> bool:
        return bool(self.settings.get("strict_models")) and bool(self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSnapshot:
    """The providers at one moment. Shape: `providers` by name; `in_order` the default first, then by priority."""

    providers: Mapping[str, ProviderEntry]
    in_order: tuple[ProviderEntry, ...]

    @property
    def default_provider(self) -> str | None:
        return self.in_order[0].name if self.in_order and self.in_order[0].is_default else None


def load_snapshot() -> ProviderSnapshot:
    """Read all providers with their models. Runs two queries."""
    models = _models_by_provider()
    found = (_find_entry(row, models.get(row.pk, NOTHING)) for row in ProviderConfig.objects.in_order())
    in_order = tuple(entry for entry in found if entry)
    return ProviderSnapshot(
        providers={entry.name: entry for entry in in_order},
        in_order=in_order,
    )


def _models_by_provider() -> dict[int, Mapping[str, ModelEntry]]:
    rows = ProviderModel.objects.order_by("provider_id", "name")
    return {
        provider_id: {m.name: _model_entry(m) for m in group}
        for provider_id, group in groupby(rows, key=lambda m: m.provider_id)
    }


def _model_entry(row: ProviderModel) -> ModelEntry:
    return ModelEntry(
        name=row.name,
        listed=row.listed,
        allowed=row.allowed,
        price=row.price,
        first_seen_at=row.first_seen_at,
        capabilities=frozenset(row.capabilities),
    )


def _shared_name(model_name: str) -> str:
    """Some providers take a model under several spellings: with a tag, in any case, with a folder."""
    return model_name.strip().casefold().removeprefix("models/").removesuffix(":latest")


def _find_entry(row: ProviderConfig, models: Mapping[str, ModelEntry]) -> ProviderEntry | None:
    """Return a provider as it is routed to, None for a row that only SQL could write: it costs no other its changes."""
    try:
        return entry_of(row, models)
    except (TypeError, ValueError):
        logger.warning("Provider %s is left out: its row in the database is not valid.", row.name)
        return None


def entry_of(row: ProviderConfig, models: Mapping[str, ModelEntry] = NOTHING) -> ProviderEntry:
    """Return a provider as it is routed to."""
    return ProviderEntry(
        name=row.name,
        provider_type=ProviderType(row.provider_type),
        base_url=row.effective_base_url,
        api_key=row.api_key or None,
        default_model=row.default_model,
        enabled=row.enabled,
        is_default=row.is_default,
        priority=row.priority,
        rate_limit=row.rate_limit,
        timeout_s=row.timeout,
        settings=dict(row.settings),
        health=Health(row.health),
        models=models,
    )


PROVIDERS = LiveSnapshot(load_snapshot, CONFIGURATION)
