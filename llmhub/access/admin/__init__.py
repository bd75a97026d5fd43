"""Applications and their keys in the admin."""

from llmhub.access.admin.applications import ApplicationAdmin
from llmhub.access.admin.keys import ApiKeyAdmin

__all__ = ["ApiKeyAdmin", "ApplicationAdmin"]
