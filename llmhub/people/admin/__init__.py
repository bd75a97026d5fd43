"""Admin pages of users, groups and second factors."""

from llmhub.people.admin.groups import GroupAdmin
from llmhub.people.admin.second_factors import SecondFactorAdmin
from llmhub.people.admin.users import UserAdmin

__all__ = ["GroupAdmin", "SecondFactorAdmin", "UserAdmin"]
