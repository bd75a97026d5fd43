"""The tables of providers, models, health checks and connection tests."""

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
MAX_TOKENS = 2**31 - 1
RESERVED_NAMES = frozenset({"register", "health", "models"})
"""Path segments of the API that cannot be provider names."""


class Health(models.TextChoices):
    UNKNOWN = "unknown", "Not checked"
    HEALTHY = "healthy", "Healthy"
    DEGRADED = "degraded", "Degraded"
    UNHEALTHY = "unhealthy", "Unhealthy"

    def after(self, *, ok: bool) -> Health:
        """Return the next state: one failure degrades a healthy provider, a second in a row makes it unhealthy."""
        if ok:
            return Health.HEALTHY
        return Health.DEGRADED if self is Health.HEALTHY else Health.UNHEALTHY


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The result of a key rotation. Shape: `undecryptable` lists provider names."""

    rotated: int
    current: int
    undecryptable: tuple[str, ...]


class ProviderConfigQuerySet(models.QuerySet["ProviderConfig"]):
    def in_order(self) -> ProviderConfigQuerySet:
        """Order by failover: the default first, then by priority."""
        return self.order_by("-is_default", "priority", "name")

    def latest_latencies(self, *, checks: int) -> dict[int, list[int | None]]:
        """Return the latencies of each provider's latest checks by id, oldest first; None for a failed check.

        Units: milliseconds. Runs one query, which reads no older checks.
        """
        took = Case(When(ok=True, then=F("latency_ms")), output_field=models.IntegerField(null=True))
        latest = HealthCheck.objects.filter(provider=OuterRef("pk")).order_by("-at").annotate(took=took)
        rows = self.order_by().values_list("pk", ArraySubquery(latest.values("took")[:checks]))
        return {pk: latencies[::-1] for pk, latencies in rows}

    def names(self) -> list[str]:
        return list(self.values_list("name", flat=True))

    def switch(self, *, on: bool) -> int:
        """Enable or disable providers; return how many changed."""
        return self.filter(enabled=not on).update(enabled=on)

    def healthy_by_name(self) -> dict[str, bool]:
        """Return whether each provider was healthy at its last check."""
        return {name: health == Health.HEALTHY for name, health in self.in_order().values_list("name", "health")}

    def models_by_name(self) -> dict[str, list[str]]:
        """Return each provider's models as of the last refresh. Runs two queries."""
        return {row.name: row.model_names for row in self.in_order().prefetch_related("models")}

    def offers(self) -> dict[str, list[str]]:
        """Return each provider's usable models, including an unlisted default model. Runs two queries."""
        rows = self.order_by("name").prefetch_related("models")
        return {row.name: sorted({*row.model_names, row.default_model} - {""}) for row in rows}

    def register(self, name: str, values: Mapping[str, Any]) -> tuple[ProviderConfig, bool]:
        """Add a provider, or change the one of that name; return its row and whether it is new.

        Errors: ValidationError by field.
        """
        try:
            return self._register(name, values)
        except IntegrityError:  # another process concurrently added this name, or the first provider
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
        """Change a provider; omitted fields keep their values.

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
        """Make this provider the default unless there is one; return whether it became the default."""
        if self.filter(is_default=True).exists():
            return False
        return self.make_default(name).is_default

    @transaction.atomic
    def rotate_secrets(self) -> Rotation:
        """Re-encrypt every key with the first of LLMHUB_SECRET_KEYS; skip a key that changed concurrently.

        The database cannot distinguish a re-encrypted key from a new one: the history shows each as changed.
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
        help_text="Used by callers, e.g. <code>openai</code>; its models are <code>openai/gpt-6-luna</code>.",
    )
    provider_type = models.CharField("type", max_length=20, choices=[(t.value, t.value) for t in ProviderType])
    api_key = SecretField("API key", blank=True, default="", place_from="key_place")
    api_key_set_at = models.DateTimeField("API key set", null=True, editable=False)
    base_url = models.CharField(
        "base URL",
        max_length=500,
        blank=True,
        help_text="Empty: the type's default URL. Required for custom providers, e.g. <code>http://vllm.internal:8000/v1</code>.",
    )
    default_model = models.CharField(
        max_length=200, blank=True, help_text="The model for chats without a model, e.g. <code>llama3.2</code>."
    )
    enabled = models.BooleanField(default=True)
    is_default = models.BooleanField("default", default=False, editable=False)
    priority = models.PositiveIntegerField(default=100, help_text="Order of failover: lower is tried earlier.")
    rate_limit = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Requests per minute; empty: no limit."
    )
    timeout = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Seconds without data before a request times out.",
    )
    settings = models.JSONField(blank=True, default=dict, help_text="Settings of the type; see the documentation.")
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
        """The place that the key is bound to; "" if this row does not determine it."""
        if self.provider_type not in BACKENDS or not isinstance(self.settings, dict):
            return ""
        return key_place(ProviderType(self.provider_type), self.effective_base_url, self.settings)

    @property
    def stored_key_fault(self) -> str:
        """Why the stored key cannot be used, as the predicate of a sentence; empty if it can."""
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
        """Validate what depends on the type; report all faults, by field."""
        if self.provider_type not in BACKENDS:
            return
        faults = {
            "name": f"`{self.name}` is reserved by the API." if self.name in RESERVED_NAMES else "",
            "api_key": self._api_key_fault(),
            "base_url": self._base_url_fault(),
            "settings": self._settings_fault(),
        }
        if errors := {field: fault for field, fault in faults.items() if fault}:
            raise ValidationError(errors)

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
            return "; ".join(setting_error_text(e) for e in error.errors(include_input=False))
        return ""

    def change(self, values: Mapping[str, Any]) -> Self:
        """Change and save only these fields: probes write to the other columns concurrently."""
        for name, value in values.items():
            setattr(self, name, value)
        self.full_clean(validate_unique=False, validate_constraints=False)
        self.save(update_fields=[*values, "updated_at"])
        return self

    def record_probe(self, probe: ProbeResult, *, now: datetime) -> None:
        """Store a probe's result: a health check, and this provider's health."""
        HealthCheck.objects.create(provider=self, at=now, ok=probe.ok, latency_ms=probe.latency_ms, error=probe.error)
        rows = ProviderConfig.objects.filter(pk=self.pk)
        rows.update(last_checked_at=now, last_error=probe.error)
        current = Health(self.health)
        rows.set_health(self.pk, old=current, new=current.after(ok=probe.ok), now=now)

    def record_models(self, models: Iterable[ModelInfo], *, now: datetime) -> list[str]:
        """Store a provider's model list: add new models, update known ones, mark missing ones as not listed.

        An admin's values stay: prices, and whether a model is enabled.
        """
        infos = {info.name: info for info in models}
        with transaction.atomic():
            ProviderModel.objects.bulk_create(
                [ProviderModel.from_info(self, info, now=now) for info in infos.values()], ignore_conflicts=True
            )
            rows = ProviderModel.objects.filter(provider=self)
            rows.filter(name__in=infos).update(last_seen_at=now)
            rows.filter(name__in=infos, listed=False).update(listed=True)
            rows.filter(listed=True).exclude(name__in=infos).update(listed=False)
        return sorted(infos)


def setting_error_text(fault: ErrorDetails) -> str:
    key = ".".join(str(segment) for segment in fault["loc"])
    return f"unknown key `{key}`" if fault["type"] == "extra_forbidden" else f"`{key}`: {fault['msg']}"


def _believable(tokens: int | None) -> int | None:
    """Return a number of tokens that the database can store, None for a larger one."""
    return tokens if tokens is not None and tokens <= MAX_TOKENS else None


class ProviderModelQuerySet(models.QuerySet["ProviderModel"]):
    def offered(self) -> Self:
        return self.filter(listed=True, allowed=True)

    def allow(self, *, on: bool) -> int:
        """Enable or disable models; return how many changed."""
        return self.filter(allowed=not on).update(allowed=on)


@track_changes(exclude=["listed", "first_seen_at", "last_seen_at"])
class ProviderModel(models.Model):
    """A model that a provider lists, or used to list."""

    provider = models.ForeignKey(ProviderConfig, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=200)
    capabilities = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    context_window = models.PositiveIntegerField(null=True, blank=True, help_text="Tokens; empty: unknown.")
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    input_usd_per_mtok = models.DecimalField(
        "input price",
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="USD per million tokens; empty: unknown.",
    )
    output_usd_per_mtok = models.DecimalField("output price", max_digits=14, decimal_places=6, null=True, blank=True)
    cached_input_usd_per_mtok = models.DecimalField(
        "cached input price", max_digits=14, decimal_places=6, null=True, blank=True
    )
    listed = models.BooleanField(default=True, editable=False)
    allowed = models.BooleanField(
        "enabled", default=True, help_text="If disabled, chats with it are refused under any name; refreshes keep this."
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
    def from_info(cls, provider: ProviderConfig, info: ModelInfo, *, now: datetime) -> ProviderModel:
        """Return a row for a new model, with its public list price if known."""
        price = known_price(provider.backend.price_list, info.name, now=now)
        return cls(
            provider=provider,
            name=info.name,
            capabilities=list(info.capabilities),
            context_window=_believable(info.context_window),
            max_output_tokens=_believable(info.max_output_tokens),
            input_usd_per_mtok=price.input_usd_per_mtok,
            output_usd_per_mtok=price.output_usd_per_mtok,
            cached_input_usd_per_mtok=price.cached_input_usd_per_mtok,
            first_seen_at=now,
            last_seen_at=now,
        )

    @property
    def is_offered(self) -> bool:
        """Whether the provider lists it, and an admin enabled it."""
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
    """The checks of one interval.

    Shape: latencies are of succeeded checks, None without any; `one_error` is an error of a failed one.
    """

    start: datetime
    checks: int
    failed: int
    mean_ms: float | None
    slowest_ms: int | None
    one_error: str | None


class HealthCheckQuerySet(models.QuerySet["HealthCheck"]):
    def by_span(self, *, since: datetime, span: timedelta) -> list[HealthSpan]:
        """Return the checks since a time in intervals that start there; skip intervals without checks."""
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
    """The result of one probe of a provider. Kept for 30 days."""

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


class ConnectionTestSource(models.TextChoices):
    FORM = "form", "Test connection"
    CHECK = "check", "Check now"
    API = "api", "API"


class KeyUsed(models.TextChoices):
    STORED = "stored", "stored"
    ENTERED = "entered", "entered"
    NONE = "none", "none"


class UnrecordedTestError(Exception):
    """A connection test cannot be recorded, so it must not run."""


class ConnectionTestQuerySet(models.QuerySet["ConnectionTest"]):
    def begin(self, row: ProviderConfig, *, actor: str, address: str, through: ConnectionTestSource) -> ConnectionTest:
        """Record a connection test of `row`, committed before the test runs.

        Errors: UnrecordedTestError.
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
            raise UnrecordedTestError("The connection test cannot be recorded now, so it was not run.") from error


class ConnectionTest(models.Model):
    """A connection test: user, client address, URL and key. Append-only.

    Shape: `address` is the user's; `provider` is empty for an unsaved one.
    """

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField("user", max_length=200)
    address = models.CharField("client address", max_length=100, blank=True)
    through = models.CharField("source", max_length=10, choices=ConnectionTestSource.choices)
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
    """The outcome of a connection test; an interrupted test has none."""

    test = models.OneToOneField(ConnectionTest, models.DO_NOTHING, primary_key=True, related_name="outcome")
    at = models.DateTimeField(db_default=Now())
    ok = models.BooleanField()
    words = models.TextField("details", blank=True)

    class Meta:
        managed = False
        default_permissions = ()

    def __str__(self) -> str:
        return "succeeded" if self.ok else f"failed: {self.words}"
