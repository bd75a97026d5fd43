"""What providers need done now and then."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from providers.manager import get_provider_manager, run
from providers.models import HealthCheck


@shared_task(name="providers.tasks.check_health", soft_time_limit=50, time_limit=60)
def check_health() -> dict[str, bool]:
    probes = run(get_provider_manager().health_check_all)
    return {name: probe.ok for name, probe in probes.items()}


@shared_task(name="providers.tasks.refresh_models", soft_time_limit=100, time_limit=120)
def refresh_models() -> dict[str, int]:
    models = run(get_provider_manager().refresh_all_models)
    return {name: len(names) for name, names in models.items()}


@shared_task(name="providers.tasks.delete_expired_health_checks", soft_time_limit=240, time_limit=300)
def delete_expired_health_checks() -> int:
    return HealthCheck.objects.delete_expired(now=timezone.now())
