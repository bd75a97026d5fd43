"""Applications and their API keys."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import connections, models
from django.db.models import Count, Max, Q

from llmhub.access.keys import RULE, is_strong, key_digest, visible_prefix
from llmhub.access.principals import KeyEntry, Principal, Scope
from llmhub.history.tracking import track_changes

SOON = timedelta(days=14)
"""How long before its end a key counts as expiring soon."""

# Rows are locked in id order, so that concurrent writers cannot deadlock.
MARK_USED = """
WITH used AS (
    SELECT key.id, noted.at
    FROM unnest(%s::text[], %s::timestamptz[]) AS noted (digest, at)
    JOIN access_apikey AS key ON key.digest = noted.digest
    WHERE key.last_used_at IS NULL OR key.last_used_at < noted.at
    ORDER BY key.id
    FOR NO KEY UPDATE OF key
)
UPDATE access_apikey AS key SET last_used_at = greatest(key.last_used_at, used.at) FROM used WHERE key.id = used.id
"""


class KeyState(models.TextChoices):
    """Whether a key is accepted, and why not."""

    LIVE = "live", "active"
    EXPIRES_SOON = "expires_soon", "expires soon"
    EXPIRED = "expired", "expired"
    REVOKED = "revoked", "revoked"
    SWITCHED_OFF = "switched_off", "application disabled"


class ApplicationQuerySet(models.QuerySet["Application"]):
    def with_keys(self, *, now: datetime) -> Self:
        """Add `key_count`, `live_key_count` and `last_used_at`, the latest over the keys."""
        is_live = Q(keys__revoked_at=None) & (Q(keys__expires_at=None) | Q(keys__expires_at__gt=now))
        return self.annotate(
            key_count=Count("keys"),
            live_key_count=Count("keys", filter=is_live & Q(is_active=True)),
            last_used_at=Max("keys__last_used_at"),
        )

    def switch(self, *, on: bool) -> int:
        """Enable or disable applications; return how many changed."""
        return self.filter(is_active=not on).update(is_active=on)


@track_changes(exclude=["updated_at"])
class Application(models.Model):
    """An internal application; the record of each of its chats holds its name."""

    name = models.SlugField(
        unique=True, max_length=100, help_text="Shown in the history of chats, e.g. <code>support-bot</code>."
    )
    description = models.TextField(blank=True, help_text="What it does, and who is responsible for it.")
    is_active = models.BooleanField(
        "enabled", default=True, help_text="If disabled, all its keys are refused within a second."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ApplicationQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def with_ids(self, ids: Iterable[str]) -> Self:
        """Keep the keys with these ids, as text; ignore text that is no id."""
        return self.filter(pk__in=[int(id_) for id_ in ids if id_.isascii() and id_.isdigit() and len(id_) < 19])

    def live(self, *, now: datetime) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, application__is_active=True)

    def in_state(self, state: KeyState, *, now: datetime) -> Self:
        """Keep the keys for which `ApiKey.state` returns this state."""
        valid = self.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
        match state:
            case KeyState.REVOKED:
                return self.exclude(revoked_at=None)
            case KeyState.EXPIRED:
                return self.filter(revoked_at=None, expires_at__lte=now)
            case KeyState.SWITCHED_OFF:
                return valid.filter(application__is_active=False)
            case KeyState.EXPIRES_SOON:
                return valid.filter(application__is_active=True, expires_at__lte=now + SOON)
            case KeyState.LIVE:
                return valid.filter(Q(expires_at=None) | Q(expires_at__gt=now + SOON), application__is_active=True)

    def revoke(self, *, now: datetime) -> int:
        """Revoke the keys not revoked yet; a revocation is final."""
        return self.filter(revoked_at=None).update(revoked_at=now)

    def issue(
        self, application: Application, *, name: str, key: str | None = None, **fields: object
    ) -> tuple[ApiKey, str]:
        """Create a key; return it with its secret, which is not stored.

        Errors: ValidationError for a chosen `key` that is malformed or weak.
        """
        secret = key or f"lh_{secrets.token_urlsafe(32)}"
        if not is_strong(secret):
            raise ValidationError(f"An API key is {RULE}.")
        row = self.create(
            application=application,
            name=name,
            prefix=visible_prefix(secret),
            digest=key_digest(secret),
            **fields,
        )
        return row, secret

    def mark_used(self, uses: Mapping[str, datetime]) -> int:
        """Move `last_used_at` forward, never back. Shape: `uses` by digest. Return how many keys changed."""
        if not uses:
            return 0
        with connections[self.db].cursor() as cursor:
            cursor.execute(MARK_USED, [list(uses), list(uses.values())])
            return int(cursor.rowcount)

    def find_entry(self, key: str) -> KeyEntry | None:
        row = self.select_related("application").filter(digest=key_digest(key)).first()
        return row.entry() if row else None


@track_changes(exclude=["last_used_at"], secrets=["digest"])
class ApiKey(models.Model):
    """A credential of one application. Only the SHA-256 of the secret is stored."""

    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=100, help_text="Where the key is used, e.g. <code>production</code>.")
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(
        max_length=64, unique=True, editable=False, validators=[RegexValidator(r"^[0-9a-f]{64}$")]
    )
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope.choices), default=list)
    allowed_providers = ArrayField(
        models.CharField(max_length=100), default=list, blank=True, help_text="Provider names; empty: all."
    )
    allowed_models = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="<code>model</code> or <code>provider/model</code>; empty: all.",
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ("application__name", "name")
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.application} · {self.name} ({self.prefix}…)"

    def state(self, *, now: datetime) -> KeyState:
        """Return the key's state; reads `application`."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        if not self.application.is_active:
            return KeyState.SWITCHED_OFF
        return KeyState.EXPIRES_SOON if self.expires_at and self.expires_at <= now + SOON else KeyState.LIVE

    def entry(self) -> KeyEntry:
        """Return the key's entry for the snapshot; reads `application`."""
        return KeyEntry(
            principal=Principal(
                application=self.application.name,
                api_key=self.prefix,
                scopes=frozenset(self.scopes),
                allowed_providers=frozenset(self.allowed_providers),
                allowed_models=frozenset(self.allowed_models),
            ),
            expires_at=self.expires_at,
            revoked_at=self.revoked_at,
            is_active=self.application.is_active,
        )
