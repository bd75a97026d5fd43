"""The configuration in memory: one immutable snapshot for each process, replaced whenever the database changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

import psycopg
from django.db import close_old_connections

from llmhub.access.models import ApiKey
from llmhub.access.principals import KeyEntry
from llmhub.access.secrets import Secret
from llmhub.runtime.database import conninfo, own_connection
from providers.key_places import key_place
from providers.models import Health, ProviderConfig, ProviderModel
from providers.types import NOTHING, Extra, Price, ProviderType

logger = logging.getLogger(__name__)

CHANNEL = "llmhub_config"
POLL_S = 30.0
RECONNECT_S = 0.3
LISTENER = {"connect_timeout": 3, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2}
"""A listener says nothing for hours: only keepalives tell it that its connection is gone. Units: seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    name: str
    listed: bool
    allowed: bool
    price: Price
    first_seen_at: datetime

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
class Snapshot:
    """The configuration at one moment.

    Shape: `providers` by name; `in_order` the default first, then by priority; `keys` by the digest of
    the key.
    """

    version: int
    providers: Mapping[str, ProviderEntry]
    in_order: tuple[ProviderEntry, ...]
    keys: Mapping[str, KeyEntry]

    @property
    def default_provider(self) -> str | None:
        return self.in_order[0].name if self.in_order and self.in_order[0].is_default else None


def load_snapshot(version: int) -> Snapshot:
    """Read the whole configuration. Runs three queries."""
    models = _models_by_provider()
    found = (_find_entry(row, models.get(row.pk, NOTHING)) for row in ProviderConfig.objects.in_order())
    in_order = tuple(entry for entry in found if entry)
    return Snapshot(
        version=version,
        providers={entry.name: entry for entry in in_order},
        in_order=in_order,
        keys={key.digest: key.entry() for key in ApiKey.objects.select_related("application")},
    )


def _models_by_provider() -> dict[int, Mapping[str, ModelEntry]]:
    rows = ProviderModel.objects.order_by("provider_id", "name")
    return {
        provider_id: {m.name: _model_entry(m) for m in group}
        for provider_id, group in groupby(rows, key=lambda m: m.provider_id)
    }


def _model_entry(row: ProviderModel) -> ModelEntry:
    return ModelEntry(
        name=row.name, listed=row.listed, allowed=row.allowed, price=row.price, first_seen_at=row.first_seen_at
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


class ConfigRegistry:
    """Keeps one snapshot fresh: a thread listens for the database's announcements, and polls now and then as a net.

    Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._is_stale = False

    def snapshot(self) -> Snapshot:
        """Return the current configuration; the first call of a process reads it and starts listening."""
        return self._snapshot or self.start()

    def start(self) -> Snapshot:
        """Read the configuration and keep it fresh from now on. Blocks for three queries."""
        with self._lock:
            if self._thread is None:
                listening = threading.Event()
                self._stopping.clear()
                self._thread = threading.Thread(target=self._listen, args=(listening,), name="config", daemon=True)
                self._thread.start()
                listening.wait(timeout=5)
            return self._snapshot or self._reload()

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopping.set()
            if thread is not None:
                thread.join(timeout=5)
            self._snapshot = None

    def _reload(self) -> Snapshot:
        version = self._snapshot.version + 1 if self._snapshot else 1
        self._snapshot = load_snapshot(version)
        return self._snapshot

    def _listen(self, listening: threading.Event) -> None:
        """Follow the database on two connections that nobody else can take: one hears, the other reads."""
        with own_connection():
            self._listen_for_ever(listening)

    def _listen_for_ever(self, listening: threading.Event) -> None:
        is_lost = False
        while not self._stopping.is_set():
            try:
                with psycopg.connect(conninfo(**LISTENER), autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._reload_quietly()
                    listening.set()
                    if is_lost:
                        logger.warning("Changes of the configuration are heard again.")
                    is_lost = False
                    self._follow(connection)
            except (psycopg.Error, OSError) as error:
                if not is_lost:
                    logger.warning(
                        "Changes of the configuration are not heard (%s); trying again.", type(error).__name__
                    )
                is_lost = True
                listening.set()
                self._stopping.wait(RECONNECT_S)

    def _follow(self, connection: psycopg.Connection[Any]) -> None:
        """Reload at every announcement, and every 30 s without one, until told to stop; what failed, again at once."""
        idle_s = 0.0
        while not self._stopping.is_set():
            announced = bool(list(connection.notifies(timeout=0.5, stop_after=1)))
            idle_s = 0.0 if announced else idle_s + 0.5
            if announced or self._is_stale or idle_s >= POLL_S:
                idle_s = 0.0
                self._reload_quietly()

    def _reload_quietly(self) -> None:
        """Reload, or keep the last known configuration while the database cannot tell."""
        try:
            self._reload()
        except Exception as error:  # whatever it is: without this thread no key would ever lose its force again
            if not self._is_stale:
                logger.warning(
                    "Could not read the configuration (%s); the last known one stays in force.", type(error).__name__
                )
            self._is_stale = True
        else:
            self._is_stale = False
        finally:
            close_old_connections()
