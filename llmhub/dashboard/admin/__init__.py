"""People, schedules and the history of the configuration in the admin."""

from django.contrib import admin

from llmhub.dashboard.admin.changes import ChangeAdmin
from llmhub.dashboard.admin.groups import GroupAdmin
from llmhub.dashboard.admin.schedules import PeriodicTaskAdmin
from llmhub.dashboard.admin.users import UserAdmin

admin.site.empty_value_display = "–"  # as pages that are the hub's own write it

__all__ = ["ChangeAdmin", "GroupAdmin", "PeriodicTaskAdmin", "UserAdmin"]
