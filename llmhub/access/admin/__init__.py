"""Admin pages of applications and API keys."""

from llmhub.access.admin.applications import ApplicationAdmin
from llmhub.access.admin.keys import ApiKeyAdmin

__all__ = ["ApiKeyAdmin", "ApplicationAdmin"]
