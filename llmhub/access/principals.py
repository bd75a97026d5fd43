"""The caller of a request, and the rights of its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import TextChoices

from llmhub.access.keys import is_well_formed, key_digest
from llmhub.access.last_used import note_use
from llmhub.runtime.errors import HubError


class NotPermittedError(HubError):
    """The caller's key, or a model's admin, forbids the request. Shape: `param` names the field."""

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


class Scope(TextChoices):
    """What an API key may be used for."""

    CHAT = "chat", "Chat and list models"
    PROVIDERS_READ = "providers:read", "See providers, their health and models"
    PROVIDERS_WRITE = "providers:write", "Register, change, check and remove providers"
    AUDIT_READ = "audit:read", "Read the history of the application's own chats"
    AUDIT_READ_ALL = "audit:read:all", "Read the history of everybody's chats"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller of one request.

    Shape: an application with the visible prefix of its key, or `actor`, the name of a signed-in user.
    Empty sets of providers and models allow all.
    """

    application: str | None = None
    api_key: str | None = None
    actor: str | None = None
    scopes: frozenset[str] = frozenset()
    allowed_providers: frozenset[str] = frozenset()
    allowed_models: frozenset[str] = frozenset()
    is_authenticated: bool = True

    @property
    def name(self) -> str:
        return self.actor or f"{self.application} ({self.api_key})"

    def has(self, scope: Scope) -> bool:
        """Whether the caller has a scope; `audit:read:all` includes `audit:read`."""
        return scope in self.scopes or (scope == Scope.AUDIT_READ and Scope.AUDIT_READ_ALL in self.scopes)

    def may_use(self, provider: str, model_name: str) -> bool:
        """Whether the caller may use a model, allowed as `model` or `provider/model`."""
        if self.allowed_providers and provider not in self.allowed_providers:
            return False
        return not self.allowed_models or not self.allowed_models.isdisjoint({model_name, f"{provider}/{model_name}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """An API key in the configuration snapshot."""

    principal: Principal
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    is_active: bool = True


class KeyRefusedError(Exception):
    """The caller's key is refused; `principal` is set if the key was once valid."""

    def __init__(self, message: str, *, principal: Principal | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.principal = principal


def admit(presented: Sequence[str], keys: Mapping[str, KeyEntry], *, now: datetime) -> Principal:
    """Authenticate the first of the presented keys that is known, and note its use.

    Shape: `keys` by SHA-256 digest, in hex.
    Errors: KeyRefusedError; with the principal if the key is known, but revoked, expired or disabled.
    """
    if not presented:
        raise KeyRefusedError("No API key: send `Authorization: Bearer <key>` or `x-api-key: <key>`.")
    digests = (key_digest(key) for key in presented if is_well_formed(key))
    digest = next((digest for digest in digests if digest in keys), None)
    if digest is None:
        raise KeyRefusedError("This API key is not known here.")
    entry = keys[digest]
    if refusal := _refusal(entry, now):
        raise KeyRefusedError(refusal, principal=entry.principal)
    note_use(digest, now)
    return entry.principal


def _refusal(entry: KeyEntry, now: datetime) -> str:
    if entry.revoked_at is not None:
        return f"This API key was revoked on {entry.revoked_at:%Y-%m-%d %H:%M} UTC."
    if entry.expires_at is not None and entry.expires_at <= now:
        return f"This API key expired on {entry.expires_at:%Y-%m-%d %H:%M} UTC."
    return "" if entry.is_active else f"The application {entry.principal.application} is switched off."
