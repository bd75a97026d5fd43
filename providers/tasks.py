"""What providers need done now and then."""

from __future__ import annotations

import logging

from celery import shared_task
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from providers.manager import get_provider_manager, run
from providers.models import HealthCheck, ProviderConfig

logger = logging.getLogger(__name__)


@shared_task(name="providers.tasks.check_health", soft_time_limit=50, time_limit=60)
def check_health() -> dict[str, bool]:
    probes = run(get_provider_manager().health_check_all)
    return {name: probe.ok for name, probe in probes.items()}


@shared_task(name="providers.tasks.refresh_models", soft_time_limit=100, time_limit=120)
def refresh_models() -> dict[str, int]:
    models = run(get_provider_manager().refresh_all_models)
    return {name: len(names) for name, names in models.items()}


@shared_task(name="providers.tasks.probe_and_refresh", soft_time_limit=100, time_limit=120)
def probe_and_refresh(*, provider_id: int) -> None:
    """Check one provider and ask for its models: what is new or changed need not wait for the next round."""
    row = ProviderConfig.objects.filter(pk=provider_id, enabled=True).first()
    if row is not None:
        run(get_provider_manager().probe_and_refresh, row.name)


def probe_and_refresh_soon(provider_id: int) -> None:
    """Send `probe_and_refresh` on commit; without a broker, the next periodic run does its work."""

    def send() -> None:
        try:
            probe_and_refresh.apply_async(kwargs={"provider_id": provider_id}, retry=False)
        except OperationalError as error:
            logger.warning("No look at provider %s before the next round: %s.", provider_id, type(error).__name__)

    transaction.on_commit(send)


@shared_task(name="providers.tasks.delete_expired_health_checks", soft_time_limit=240, time_limit=300)
def delete_expired_health_checks() -> int:
    return HealthCheck.objects.delete_expired(now=timezone.now())
