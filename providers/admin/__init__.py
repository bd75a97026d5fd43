"""Admin pages of providers, models, health checks and connection tests."""

from providers.admin.connection_tests import ConnectionTestAdmin
from providers.admin.health_checks import HealthCheckAdmin
from providers.admin.models import ProviderModelAdmin
from providers.admin.providers import ProviderConfigAdmin

__all__ = ["ConnectionTestAdmin", "HealthCheckAdmin", "ProviderConfigAdmin", "ProviderModelAdmin"]
