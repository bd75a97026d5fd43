"""Admin pages of periodic tasks and schedules."""

from llmhub.operations.admin.schedules import PeriodicTaskAdmin

__all__ = ["PeriodicTaskAdmin"]
