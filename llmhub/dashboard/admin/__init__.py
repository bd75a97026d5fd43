"""People, schedules and the history of the configuration in the admin."""

from llmhub.dashboard.admin.changes import ChangeAdmin
from llmhub.dashboard.admin.groups import GroupAdmin
from llmhub.dashboard.admin.schedules import PeriodicTaskAdmin
from llmhub.dashboard.admin.users import UserAdmin

__all__ = ["ChangeAdmin", "GroupAdmin", "PeriodicTaskAdmin", "UserAdmin"]
