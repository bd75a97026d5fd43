"""Providers, their models and their health in the admin."""

from providers.admin.connection_tests import ConnectionTestAdmin
from providers.admin.health_checks import HealthCheckAdmin
from providers.admin.models import ProviderModelAdmin
from providers.admin.providers import ProviderConfigAdmin

__all__ = ["ConnectionTestAdmin", "HealthCheckAdmin", "ProviderConfigAdmin", "ProviderModelAdmin"]
