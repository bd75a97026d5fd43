"""Providers, their models and their health in the admin."""

from providers.admin.health_checks import HealthCheckAdmin
from providers.admin.models import ProviderModelAdmin
from providers.admin.providers import ProviderConfigAdmin

__all__ = ["HealthCheckAdmin", "ProviderConfigAdmin", "ProviderModelAdmin"]
