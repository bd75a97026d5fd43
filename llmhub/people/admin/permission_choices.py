"""Who may give which permissions to whom."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet
from django.utils.text import capfirst

from llmhub.access.granting import PermissionNames, check_grant, has_all, names_of
from llmhub.adminkit.read_only import ReadOnlyAdmin


def pickable() -> QuerySet[Permission]:
    """The permissions that something in the admin asks for; runs one query for the content types."""
    registry = admin.site._registry
    types = ContentType.objects.get_for_models(*registry)
    read_only = [types[model].pk for model, page in registry.items() if isinstance(page, ReadOnlyAdmin)]
    idle = Q(content_type__in=read_only) & Q(codename__regex="^(add|change|delete)_")
    found = Permission.objects.filter(content_type__in=[kind.pk for kind in types.values()]).exclude(idle)
    return found.select_related("content_type").order_by("content_type__app_label", "content_type__model", "codename")


class PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    def label_from_instance(self, permission: Any) -> str:
        model = permission.content_type.model_class()
        what = capfirst(str(model._meta.verbose_name_plural)) if model else permission.content_type.model
        return f"{what}: {permission.name}"


class GrantingForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A form that gives nobody more than whoever fills it in has."""

    actor: User

    def clean_permissions(self) -> Any:
        return self._checked("permissions")

    def clean_user_permissions(self) -> Any:
        return self._checked("user_permissions")

    def clean_groups(self) -> Any:
        chosen = self.cleaned_data["groups"]
        new = set(chosen) - set(self.instance.groups.all() if self.instance.pk else ())
        beyond = [group.name for group in new if not has_all(self.actor, _given_by(group))]
        check_grant(beyond)
        return chosen

    def _checked(self, name: str) -> Any:
        chosen = self.cleaned_data[name]
        new = set(chosen) - set(getattr(self.instance, name).all() if self.instance.pk else ())
        beyond = [str(p.name) for p in new if not has_all(self.actor, [f"{p.content_type.app_label}.{p.codename}"])]
        check_grant(beyond)
        return chosen


def _given_by(group: Group) -> PermissionNames:
    return names_of(group.permissions.all())
