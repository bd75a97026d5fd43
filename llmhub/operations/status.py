"""The hub's status, for people and monitoring; read from the database, without calling providers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

import psycopg
from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from chat.gateway.lifespan import has_lost_the_ledger
from llmhub.operations.models import Heartbeat, Service
from llmhub.runtime.database import conninfo
from providers.models import Health, ProviderConfig
from providers.types import ProviderType

REDIS_TIMEOUT_S = 0.5


class Database(Enum):
    """The state of the database."""

    AWAY = auto()
    READ_ONLY = auto()
    READY = auto()


@dataclass(frozen=True, slots=True)
class Action:
    """A problem that an admin should fix."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The status at one time. Shape: `providers` in order of failover; empty while the database is down."""

    database: Database
    has_redis: bool
    has_ledger: bool = True
    alive: frozenset[Service] = frozenset()
    providers: tuple[ProviderConfig, ...] = ()

    @property
    def default_provider(self) -> ProviderConfig | None:
        return next((row for row in self.providers if row.is_default), None)

    @property
    def can_chat(self) -> bool:
        return any(row.enabled and row.default_model and row.health != Health.UNHEALTHY for row in self.providers)

    @property
    def is_ok(self) -> bool:
        is_recording = self.database is Database.READY and self.has_ledger
        return is_recording and self.has_redis and self.alive == set(Service) and self.can_chat

    @property
    def has_ollama(self) -> bool:
        return any(
            row.enabled and row.provider_type == ProviderType.OLLAMA and row.health == Health.HEALTHY
            for row in self.providers
        )

    def body(self) -> dict[str, Any]:
        default = self.default_provider
        return {
            "status": "ok" if self.is_ok else "degraded",
            "version": settings.VERSION,
            "default_provider": default.name if default else None,
            "ollama": {"connected": self.has_ollama},
            "database": self.database is Database.READY,
            "redis": self.has_redis,
            "celery": {"worker": Service.WORKER in self.alive, "beat": Service.BEAT in self.alive},
            "pending_actions": [asdict(action) for action in pending_actions(self)],
        }


def get_status(*, now: datetime) -> Status:
    """Check the database and Redis, with short timeouts. Runs two queries."""
    has_redis = _is_redis_up()
    database = check_database()
    if database is Database.AWAY:
        return Status(database=database, has_redis=has_redis)
    return Status(
        database=database,
        has_redis=has_redis,
        has_ledger=not has_lost_the_ledger(),
        alive=frozenset(Heartbeat.objects.alive(now=now)),
        providers=tuple(ProviderConfig.objects.in_order()),
    )


def pending_actions(status: Status) -> Iterator[Action]:
    yield from hub_actions(status)
    for row in status.providers:
        yield from provider_actions(row)


def hub_actions(status: Status) -> Iterator[Action]:
    if not status.has_redis:
        yield Action(
            "redis_down", "Redis does not answer: background work is stopped, and rate limits are not enforced."
        )
    if status.database is Database.AWAY:
        yield Action("database_down", "The database does not answer: no chat is possible until it does.")
        return
    if status.database is Database.READ_ONLY:
        yield Action("database_read_only", "The database is read-only: no chat is possible until it accepts writes.")
    elif not status.has_ledger:
        yield Action("ledger_down", "This web process cannot write the record: it answers chats with 503 until it can.")
    if Service.BEAT not in status.alive:
        yield Action("beat_silent", "Celery beat is not running: no checks or refreshes start. Start it.")
    if Service.WORKER not in status.alive:
        yield Action("worker_silent", "No Celery worker is running: checks and refreshes wait. Start one.")
    if not status.can_chat:
        yield Action("no_chat_possible", "No enabled provider with a default model is known to be reachable.")
    if status.default_provider is None:
        yield Action("no_default", "There is no default provider: choose one.")


def provider_actions(row: ProviderConfig) -> Iterator[Action]:
    if fault := row.stored_key_fault:
        code = "key_misplaced" if row.api_key.is_readable else "key_unreadable"
        yield Action(code, f"The API key of provider {row.name} {fault}.")
    if row.is_default and not row.enabled:
        yield Action("default_disabled", f"The default provider {row.name} is disabled.")
    if row.enabled and row.health == Health.UNHEALTHY:
        code = "default_unhealthy" if row.is_default else "provider_unhealthy"
        yield Action(code, f"The {'default ' if row.is_default else ''}provider {row.name} fails: {row.last_error}")


def check_database() -> Database:
    """Check the database on a new connection, which detects an unresponsive server and one in recovery."""
    try:
        with psycopg.connect(conninfo(connect_timeout=2, options="-c statement_timeout=500")) as connection:
            row = connection.execute("SHOW transaction_read_only").fetchone()
    except psycopg.Error:
        return Database.AWAY
    return Database.READY if row == ("off",) else Database.READ_ONLY


def _is_redis_up() -> bool:
    redis = Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        return bool(redis.ping())
    except RedisError:
        return False
    finally:
        redis.close()
