"""Applications and their keys in the admin."""

from llmhub.access.admin.applications import ApplicationAdmin
from llmhub.access.admin.keys import ApiKeyAdmin
from llmhub.access.admin.read_only import ReadOnlyAdmin

__all__ = ["ApiKeyAdmin", "ApplicationAdmin", "ReadOnlyAdmin"]
