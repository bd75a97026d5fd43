"""Periodic tasks and their schedules in the admin."""

from llmhub.operations.admin.schedules import PeriodicTaskAdmin

__all__ = ["PeriodicTaskAdmin"]
