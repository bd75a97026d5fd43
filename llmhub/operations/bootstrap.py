"""Create the initial admin, demo application and local provider, each only once."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from llmhub.access.secrets import MisplacedSecretError, UndecryptableSecretError
from llmhub.embedded.home import ADMIN_USER, MIN_PASSWORD_CHARS
from llmhub.embedded.model import CONTEXT_TOKENS, MODEL_NAME
from llmhub.operations.models import BootstrapRecord
from providers.manager import get_provider_manager
from providers.models import Health, ProviderConfig
from providers.types import ModelInfo, ProviderType

DEMO = "demo"
LOCAL = "local"
LOCAL_MODEL = ModelInfo(name=MODEL_NAME, capabilities=("chat",), context_window=CONTEXT_TOKENS)


def password_fault(password: str) -> str:
    """Return why the first user cannot have this password; empty if it is acceptable."""
    if len(password) < MIN_PASSWORD_CHARS:
        return f"This password is too short. It must contain at least {MIN_PASSWORD_CHARS} characters."
    try:
        validate_password(password, get_user_model()(username=ADMIN_USER))
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


@transaction.atomic
def create_admin(password: str) -> str:
    """Create the first user, unless there is one; return a message."""
    users = get_user_model().objects
    if not password or BootstrapRecord.objects.filter(name=ADMIN_USER).exists() or users.exists():
        return ""
    user = users.create_superuser(ADMIN_USER, password=password)
    BootstrapRecord.objects.create(name=ADMIN_USER, object_id=user.pk)
    return f"Made the admin user `{ADMIN_USER}`."


@transaction.atomic
def create_demo_application(key: str) -> str:
    """Create the demo application with this key and all scopes; return a message."""
    if not key or BootstrapRecord.objects.filter(name=DEMO).exists() or Application.objects.filter(name=DEMO).exists():
        return ""
    application = Application.objects.create(name=DEMO, description="Created at the first start, to try the hub.")
    ApiKey.objects.issue(application, name="first key", key=key, scopes=Scope.values)
    BootstrapRecord.objects.create(name=DEMO, object_id=application.pk)
    return f"Made the application `{DEMO}` with an API key."


@transaction.atomic
def sync_local_provider(url: str, *, key: str, now: datetime) -> str:
    """Create the provider of the local model, or update its URL; return a message.

    Shape: without a key, the stored one stays.
    """
    record = BootstrapRecord.objects.filter(name=LOCAL).first()
    if record is None:
        return _create_local(url, key=key, now=now) if url else ""
    row = ProviderConfig.objects.filter(pk=record.object_id).first()
    if row is None:
        return ""
    if url == record.address:
        return _update_key(row, key) if url == row.base_url else ""
    return _move_local(row, record, url=url, key=key, now=now) if url else _disable_local(row, record)


def _create_local(url: str, *, key: str, now: datetime) -> str:
    if ProviderConfig.objects.filter(name=LOCAL).exists():
        return ""
    try:
        row, _ = get_provider_manager().register_provider(
            LOCAL,
            provider_type=ProviderType.CUSTOM.value,
            base_url=url,
            api_key=key,
            default_model=LOCAL_MODEL.name,
            settings={"strict_models": True},
            timeout=300,
        )
    except ValidationError as error:
        return f"Did not make the provider `{LOCAL}`: {' '.join(error.messages)}"
    row.record_models([LOCAL_MODEL], now=now)
    BootstrapRecord.objects.create(name=LOCAL, object_id=row.pk, address=url)
    return f"Made the provider `{LOCAL}` with the model {LOCAL_MODEL.name}."


def _move_local(row: ProviderConfig, record: BootstrapRecord, *, url: str, key: str, now: datetime) -> str:
    """Update the URL, and enable the provider if it was disabled for lack of a model; keep an admin's changes."""
    was_away = not record.address
    is_ours = not row.enabled if was_away else row.base_url == record.address
    BootstrapRecord.objects.filter(pk=record.pk).update(address=url)
    if not is_ours:
        return ""
    try:
        row.change({"base_url": url, "enabled": row.enabled or was_away, **({"api_key": key} if key else {})})
    except ValidationError as error:
        return f"Did not move the provider `{row.name}` to {url}: {' '.join(error.messages)}"
    ProviderConfig.objects.filter(pk=row.pk).update(health=Health.UNKNOWN, health_changed_at=now)
    return f"The provider `{row.name}` is at {url} now."


def _update_key(row: ProviderConfig, key: str) -> str:
    """Store the model's key in its provider, if it differs."""
    if not key or _has_key(row, key):
        return ""
    row.change({"api_key": key})
    return f"The provider `{row.name}` has a new key."


def _has_key(row: ProviderConfig, key: str) -> bool:
    try:
        return bool(row.api_key.reveal(place=row.key_place) == key)
    except (MisplacedSecretError, UndecryptableSecretError):
        return False


def _disable_local(row: ProviderConfig, record: BootstrapRecord) -> str:
    if not row.enabled or row.base_url != record.address:
        return ""
    BootstrapRecord.objects.filter(pk=record.pk).update(address="")
    ProviderConfig.objects.filter(pk=row.pk).update(enabled=False)
    return f"Switched the provider `{row.name}` off: there is no local model now."
