"""Admin pages of groups."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.models import Group
from django.db.models import Count, ManyToManyField, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from llmhub.history.tab import HistoryTab
from llmhub.people.admin.permission_choices import GrantingForm, PermissionsField, assignable_permissions

admin.site.unregister(Group)


class GroupForm(GrantingForm):
    class Meta:
        model = Group
        fields = ("name", "permissions")


@admin.register(Group)
class GroupAdmin(HistoryTab, DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold is untyped
    form = GroupForm
    list_display = ("name", "user_count", "permission_count")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, dict[str, int], set[str], list[str]]:
        """List only the groups; memberships and permissions are counted."""
        _, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return [str(group) for group in objs], counts, lacking, protected

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        groups: QuerySet[Group] = super().get_queryset(request)
        return groups.annotate(users=Count("user", distinct=True), granted=Count("permissions", distinct=True))

    def get_form(self, request: Any, obj: Group | None = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.actor = request.user
        return form

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: Any = None, **kwargs: Any) -> Any:
        return super().formfield_for_manytomany(
            db_field, request, **{**kwargs, "form_class": PermissionsField, "queryset": assignable_permissions()}
        )

    @admin.display(description="users", ordering="users")
    def user_count(self, group: Any) -> int:
        count: int = group.users
        return count

    @admin.display(description="permissions", ordering="granted")
    def permission_count(self, group: Any) -> int:
        count: int = group.granted
        return count
