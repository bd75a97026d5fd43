"""Providers, their models and their health, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import DatabaseError, IntegrityError, models, transaction
from django.db.models import Avg, Case, Count, F, Func, Max, OuterRef, Q, Value, When
from django.db.models.functions import Now
from pydantic import ValidationError as SettingsError
from pydantic_core import ErrorDetails

from llmhub.access.secrets import Secret, SecretField, UndecryptableSecretError
from llmhub.history.tracking import track_changes
from providers.addresses import url_fault
from providers.backends import BACKENDS
from providers.backends.base import BaseProvider
from providers.key_places import key_place, move_fault
from providers.pricing import known_price
from providers.types import ModelInfo, Price, ProbeResult, ProviderType

HEALTH_CHECKS_KEPT = timedelta(days=30)
RESERVED_NAMES = frozenset({"register", "health", "models"})
"""What stands in the API where the name of a provider may stand."""


class Health(models.TextChoices):
    UNKNOWN = "unknown", "Not checked"
    HEALTHY = "healthy", "Healthy"
    DEGRADED = "degraded", "Degraded"
    UNHEALTHY = "unhealthy", "Unhealthy"

    def after(self, *, ok: bool) -> Health:
        """The next state: one failure of a healthy provider degrades it, a second in a row is unhealthy."""
        if ok:
            return Health.HEALTHY
        return Health.DEGRADED if self is Health.HEALTHY else Health.UNHEALTHY


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What became of the stored keys. Shape: `undecryptable` are the names of their providers."""

    rotated: int
    current: int
    undecryptable: tuple[str, ...]


class ProviderConfigQuerySet(models.QuerySet["ProviderConfig"]):
    def in_order(self) -> ProviderConfigQuerySet:
        """The default first, then by priority."""
        return self.order_by("-is_default", "priority", "name")

    def latest_latencies(self, *, checks: int) -> dict[int, list[int | None]]:
        """Return by id what each provider's latest checks took, the oldest first, None for one that failed.

        Units: milliseconds. Runs one query, which reads no older checks.
        """
        took = Case(When(ok=True, then=F("latency_ms")), output_field=models.IntegerField(null=True))
        latest = HealthCheck.objects.filter(provider=OuterRef("pk")).order_by("-at").annotate(took=took)
        rows = self.order_by().values_list("pk", ArraySubquery(latest.values("took")[:checks]))
        return {pk: latencies[::-1] for pk, latencies in rows}

    def names(self) -> list[str]:
        return list(self.values_list("name", flat=True))

    def switch(self, *, on: bool) -> int:
        """Enable or disable those that are not yet; return how many."""
        return self.filter(enabled=not on).update(enabled=on)

    def healthy_by_name(self) -> dict[str, bool]:
        """Whether each was well when last looked at."""
        return {name: health == Health.HEALTHY for name, health in self.in_order().values_list("name", "health")}

    def models_by_name(self) -> dict[str, list[str]]:
        """The models that each has, or last had. Runs two queries."""
        return {row.name: row.model_names for row in self.in_order().prefetch_related("models")}

    def offers(self) -> dict[str, list[str]]:
        """The models that may be asked of each, its default model too where it does not list it. Runs two queries."""
        rows = self.order_by("name").prefetch_related("models")
        return {row.name: sorted({*row.model_names, row.default_model} - {""}) for row in rows}

    def register(self, name: str, values: Mapping[str, Any]) -> tuple[ProviderConfig, bool]:
        """Add a provider, or change the one of that name; return its row and whether it is new.

        Errors: ValidationError by field.
        """
        try:
            return self._register(name, values)
        except IntegrityError:  # another process added one of this name, or the first of all, at the same moment
            return self._register(name, values)

    @transaction.atomic
    def _register(self, name: str, values: Mapping[str, Any]) -> tuple[ProviderConfig, bool]:
        row = self.select_for_update().filter(name=name).first()
        if row is not None:
            return row.change(values), False
        row = self.model(name=name, **values)
        row.full_clean(validate_unique=False, validate_constraints=False)
        row.save(force_insert=True)
        row.is_default = self.make_default_if_none(name)
        return row, True

    @transaction.atomic
    def change(self, name: str, values: Mapping[str, Any]) -> ProviderConfig:
        """Change a provider; what is not given keeps its value.

        Errors: ProviderConfig.DoesNotExist; ValidationError by field.
        """
        return self.select_for_update().get(name=name).change(values)

    def make_default(self, name: str) -> ProviderConfig:
        """Make this provider the only default.

        Errors: ProviderConfig.DoesNotExist.
        """
        with transaction.atomic():
            row = self.select_for_update().get(name=name)
            self.filter(is_default=True).exclude(pk=row.pk).update(is_default=False)
            self.filter(pk=row.pk).update(is_default=True)
        row.is_default = True
        return row

    def make_default_if_none(self, name: str) -> bool:
        """Make this provider the default unless there is one; return whether it is now."""
        if self.filter(is_default=True).exists():
            return False
        return self.make_default(name).is_default

    @transaction.atomic
    def rotate_secrets(self) -> Rotation:
        """Encrypt every key again with the first of LLMHUB_SECRET_KEYS; a key entered meanwhile is left as it is.

        The database cannot tell a key that is encrypted again from another key: the history shows each as set anew.
        """
        rotated, current = 0, 0
        undecryptable: list[str] = []
        for row in self.exclude(api_key="").order_by("name"):
            secret = row.api_key
            try:
                if secret.is_current:
                    current += 1
                else:
                    rotated += self.filter(pk=row.pk, api_key=secret).update(api_key=secret.rotated())
            except UndecryptableSecretError:
                undecryptable.append(row.name)
        return Rotation(rotated=rotated, current=current, undecryptable=tuple(undecryptable))

    def set_health(self, pk: int, *, old: Health, new: Health, now: datetime) -> bool:
        """Move one provider's health, unless another worker moved it first."""
        if old == new:
            return False
        return self.filter(pk=pk, health=old).update(health=new, health_changed_at=now) == 1


@track_changes(exclude=["api_key", "health", "health_changed_at", "last_checked_at", "last_error", "updated_at"])
class ProviderConfig(models.Model):
    """One configured endpoint."""

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9._-]*$", "Use lower-case letters, digits, dots and dashes.")],
        help_text="How callers name it, e.g. <code>openai</code>; a model there is <code>openai/gpt-6-luna</code>.",
    )
    provider_type = models.CharField("type", max_length=20, choices=[(t.value, t.value) for t in ProviderType])
    api_key = SecretField("API key", blank=True, default="", place_from="key_place")
    api_key_set_at = models.DateTimeField("API key set", null=True, editable=False)
    base_url = models.CharField(
        "base URL",
        max_length=500,
        blank=True,
        help_text="Empty: the type's own address. Needed for a custom provider, e.g. <code>http://vllm.internal:8000/v1</code>.",
    )
    default_model = models.CharField(
        max_length=200, blank=True, help_text="The model for chats that name none, e.g. <code>llama3.2</code>."
    )
    enabled = models.BooleanField(default=True)
    is_default = models.BooleanField("default", default=False, editable=False)
    priority = models.PositiveIntegerField(default=100, help_text="Order of failover: lower is asked earlier.")
    rate_limit = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Requests a minute; empty: no limit."
    )
    timeout = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Seconds to wait for the first byte of an answer, and between two.",
    )
    settings = models.JSONField(blank=True, default=dict, help_text="What this type takes besides; see the docs.")
    health = models.CharField(max_length=10, choices=Health.choices, default=Health.UNKNOWN, editable=False)
    health_changed_at = models.DateTimeField(null=True, editable=False)
    last_checked_at = models.DateTimeField(null=True, editable=False)
    last_error = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProviderConfigQuerySet.as_manager()

    class Meta:
        ordering = ("priority", "name")
        verbose_name = "provider"
        constraints = [
            models.UniqueConstraint(fields=["is_default"], condition=Q(is_default=True), name="providers_one_default"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def backend(self) -> type[BaseProvider]:
        return BACKENDS[ProviderType(self.provider_type)]

    @property
    def effective_base_url(self) -> str:
        return self.base_url or self.backend.default_base_url

    @property
    def key_place(self) -> str:
        """Where its key may go, "" where it is not told by this row."""
        if self.provider_type not in BACKENDS or not isinstance(self.settings, dict):
            return ""
        return key_place(ProviderType(self.provider_type), self.effective_base_url, self.settings)

    @property
    def stored_key_fault(self) -> str:
        """What keeps the stored key from being used, as the rest of a sentence about it; empty when nothing does."""
        if not isinstance(self.api_key, Secret):
            return ""
        if not self.api_key.is_readable:
            return "cannot be decrypted: enter it again"
        place = self.key_place
        return "" if self.api_key.place == place else move_fault(self.api_key.place, place)

    @property
    def model_names(self) -> list[str]:
        return [model.name for model in self.models.all() if model.is_offered]

    def clean(self) -> None:
        """Check what depends on the type, all faults at once, each under its field."""
        if self.provider_type not in BACKENDS:
            return
        faults = {
            "name": f"`{self.name}` is a word of the API's own." if self.name in RESERVED_NAMES else "",
            "api_key": self._api_key_fault(),
            "base_url": self._base_url_fault(),
            "settings": self._settings_fault(),
        }
        if found := {field: fault for field, fault in faults.items() if fault}:
            raise ValidationError(found)

    def _api_key_fault(self) -> str:
        if self.backend.needs_api_key and not self.api_key:
            return f"A provider of type {self.provider_type} needs an API key."
        if isinstance(self.api_key, Secret) and self.api_key.is_readable and self.key_place and self.stored_key_fault:
            return f"The stored key {self.stored_key_fault}."
        if isinstance(self.api_key, str) and not (self.api_key.isascii() and self.api_key.isprintable()):
            return "An API key holds printable ASCII characters only; this one has a line break, a dash or the like."
        return ""

    def _base_url_fault(self) -> str:
        if not self.effective_base_url:
            return f"A provider of type {self.provider_type} needs a base URL."
        return url_fault(self.effective_base_url, allowed=settings.ALLOWED_PRIVATE_HOSTS)

    def _settings_fault(self) -> str:
        if not isinstance(self.settings, dict):
            return "Settings must be a JSON object."
        try:
            self.backend.settings_model.model_validate(self.settings)
        except SettingsError as error:
            return "; ".join(settings_words(e) for e in error.errors(include_input=False))
        return ""

    def change(self, values: Mapping[str, Any]) -> Self:
        """Change what is given and save no more: probes write to the other columns meanwhile."""
        for name, value in values.items():
            setattr(self, name, value)
        self.full_clean(validate_unique=False, validate_constraints=False)
        self.save(update_fields=[*values, "updated_at"])
        return self

    def record_probe(self, probe: ProbeResult, *, now: datetime) -> None:
        """Keep what a probe found: a row of history, and this provider's health."""
        HealthCheck.objects.create(provider=self, at=now, ok=probe.ok, latency_ms=probe.latency_ms, error=probe.error)
        rows = ProviderConfig.objects.filter(pk=self.pk)
        rows.update(last_checked_at=now, last_error=probe.error)
        current = Health(self.health)
        rows.set_health(self.pk, old=current, new=current.after(ok=probe.ok), now=now)

    def record_models(self, found: Iterable[ModelInfo], *, now: datetime) -> list[str]:
        """Keep the models a provider lists: new ones added, known ones seen again, vanished ones marked.

        What an admin said of a model stays: prices, and whether it is allowed.
        """
        infos = {info.name: info for info in found}
        with transaction.atomic():
            ProviderModel.objects.bulk_create(
                [ProviderModel.seen_first(self, info, now=now) for info in infos.values()], ignore_conflicts=True
            )
            mine = ProviderModel.objects.filter(provider=self)
            mine.filter(name__in=infos).update(last_seen_at=now)
            mine.filter(name__in=infos, listed=False).update(listed=True)
            mine.filter(listed=True).exclude(name__in=infos).update(listed=False)
        return sorted(infos)


def settings_words(fault: ErrorDetails) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    return f"unknown key `{key}`" if fault["type"] == "extra_forbidden" else f"`{key}`: {fault['msg']}"


class ProviderModelQuerySet(models.QuerySet["ProviderModel"]):
    def offered(self) -> Self:
        return self.filter(listed=True, allowed=True)

    def allow(self, *, on: bool) -> int:
        """Allow models or switch them off; return how many were not so yet."""
        return self.filter(allowed=not on).update(allowed=on)


@track_changes(exclude=["listed", "first_seen_at", "last_seen_at"])
class ProviderModel(models.Model):
    """A model that a provider has, or had."""

    provider = models.ForeignKey(ProviderConfig, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=200)
    capabilities = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    context_window = models.PositiveIntegerField(null=True, blank=True, help_text="Tokens; empty: not known.")
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    input_usd_per_mtok = models.DecimalField(
        "input price",
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="USD per million tokens; empty: not known.",
    )
    output_usd_per_mtok = models.DecimalField("output price", max_digits=14, decimal_places=6, null=True, blank=True)
    cached_input_usd_per_mtok = models.DecimalField(
        "cached input price", max_digits=14, decimal_places=6, null=True, blank=True
    )
    listed = models.BooleanField(default=True, editable=False)
    allowed = models.BooleanField(
        default=True,
        help_text="Switched off, it is refused under whatever name it is asked for; no refresh changes that.",
    )
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()

    objects = ProviderModelQuerySet.as_manager()

    class Meta:
        ordering = ("provider__name", "name")
        verbose_name = "model"
        constraints = [models.UniqueConstraint(fields=["provider", "name"], name="providers_model_once")]

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"

    @classmethod
    def seen_first(cls, provider: ProviderConfig, info: ModelInfo, *, now: datetime) -> ProviderModel:
        """A row for a model seen for the first time, with its list price where that is public."""
        price = known_price(provider.backend.price_list, info.name, now=now)
        return cls(
            provider=provider,
            name=info.name,
            capabilities=list(info.capabilities),
            context_window=info.context_window,
            max_output_tokens=info.max_output_tokens,
            input_usd_per_mtok=price.input_usd_per_mtok,
            output_usd_per_mtok=price.output_usd_per_mtok,
            cached_input_usd_per_mtok=price.cached_input_usd_per_mtok,
            first_seen_at=now,
            last_seen_at=now,
        )

    @property
    def is_offered(self) -> bool:
        """Whether the provider has it, and the admin lets it be used."""
        return self.listed and self.allowed

    @property
    def price(self) -> Price:
        return Price(
            input_usd_per_mtok=self.input_usd_per_mtok,
            output_usd_per_mtok=self.output_usd_per_mtok,
            cached_input_usd_per_mtok=self.cached_input_usd_per_mtok,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSpan:
    """The checks of one stretch of time.

    Shape: latencies are of the good ones, None where there was none; `one_error` is of the failed ones.
    """

    start: datetime
    checks: int
    failed: int
    mean_ms: float | None
    slowest_ms: int | None
    one_error: str | None


class HealthCheckQuerySet(models.QuerySet["HealthCheck"]):
    def by_span(self, *, since: datetime, span: timedelta) -> list[HealthSpan]:
        """Return the checks since a moment in stretches that begin at it, those without checks left out."""
        start = Func(Value(span), F("at"), Value(since), function="date_bin", output_field=models.DateTimeField())
        good, failed = Q(ok=True), Q(ok=False)
        rows = (
            self.filter(at__gte=since)
            .order_by()
            .values(start=start)
            .annotate(
                checks=Count("pk"),
                failed=Count("pk", filter=failed),
                mean_ms=Avg("latency_ms", filter=good),
                slowest_ms=Max("latency_ms", filter=good),
                one_error=Max("error", filter=failed),
            )
        )
        return [HealthSpan(**row) for row in rows.order_by("start")]

    def delete_expired(self, *, now: datetime) -> int:
        return self.filter(at__lt=now - HEALTH_CHECKS_KEPT).delete()[0]


class HealthCheck(models.Model):
    """What one probe of a provider found. Kept for 30 days."""

    provider = models.ForeignKey(ProviderConfig, on_delete=models.CASCADE, related_name="health_checks")
    at = models.DateTimeField()
    ok = models.BooleanField()
    latency_ms = models.PositiveIntegerField()
    error = models.TextField(blank=True)

    objects = HealthCheckQuerySet.as_manager()

    class Meta:
        ordering = ("-at",)
        indexes = [
            # A provider's page: its latest checks.
            models.Index(fields=["provider", "-at"], name="providers_check_latest"),
            # The clean-up of expired checks.
            models.Index(fields=["at"], name="providers_check_at"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {'ok' if self.ok else 'failed'} at {self.at:%Y-%m-%d %H:%M:%S} UTC"


class AskedThrough(models.TextChoices):
    FORM = "form", "Test connection"
    CHECK = "check", "Check now"
    API = "api", "API"


class KeyUsed(models.TextChoices):
    STORED = "stored", "the stored one"
    ENTERED = "entered", "one entered for the test"
    NONE = "none", "none"


class NotRecordedError(Exception):
    """A connection test cannot be recorded, so none is made."""


class ConnectionTestQuerySet(models.QuerySet["ConnectionTest"]):
    def begin(self, row: ProviderConfig, *, actor: str, address: str, through: AskedThrough) -> ConnectionTest:
        """Record that somebody is about to have a provider asked, as it stands in `row`: committed before it is.

        Errors: NotRecordedError.
        """
        key = KeyUsed.STORED if isinstance(row.api_key, Secret) else KeyUsed.ENTERED
        try:
            with transaction.atomic(durable=True):
                return self.create(
                    actor=actor,
                    address=address,
                    through=through,
                    provider=row.name,
                    provider_type=row.provider_type,
                    base_url=row.effective_base_url,
                    key=key if row.api_key else KeyUsed.NONE,
                )
        except DatabaseError as error:
            raise NotRecordedError("A connection test cannot be recorded now, so none is made.") from error


class ConnectionTest(models.Model):
    """Somebody had a provider asked: who, from where, which address, with which key. Rows only grow in number.

    Shape: `address` is where the request for the test came from; `provider` is empty for one not saved yet.
    """

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField("who", max_length=200)
    address = models.CharField("from", max_length=100, blank=True)
    through = models.CharField(max_length=10, choices=AskedThrough.choices)
    provider = models.CharField(max_length=100, blank=True)
    provider_type = models.CharField("type", max_length=20)
    base_url = models.CharField("base URL", max_length=500)
    key = models.CharField("API key", max_length=10, choices=KeyUsed.choices)

    objects = ConnectionTestQuerySet.as_manager()

    class Meta:
        managed = False
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.base_url}, tested by {self.actor}"

    def end(self, *, ok: bool, words: str) -> None:
        ConnectionTestOutcome.objects.create(test=self, ok=ok, words=words)


class ConnectionTestOutcome(models.Model):
    """What a connection test came to; a test that was cut short has none."""

    test = models.OneToOneField(ConnectionTest, models.DO_NOTHING, primary_key=True, related_name="outcome")
    at = models.DateTimeField(db_default=Now())
    ok = models.BooleanField()
    words = models.TextField(blank=True)

    class Meta:
        managed = False
        default_permissions = ()

    def __str__(self) -> str:
        return "worked" if self.ok else f"failed: {self.words}"
