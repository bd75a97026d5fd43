"""Forms that grant permissions, limited to those of the signed-in user."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q, QuerySet
from django.utils.text import capfirst

from llmhub.access.granting import check_grant, has_all, names_of
from llmhub.adminkit.read_only import ReadOnlyAdmin


def assignable_permissions() -> QuerySet[Permission]:
    """Return the permissions that the admin checks. Runs one query for the content types."""
    registry = admin.site._registry
    types = ContentType.objects.get_for_models(*registry)
    read_only = [types[model].pk for model, page in registry.items() if isinstance(page, ReadOnlyAdmin)]
    unused = Q(content_type__in=read_only) & Q(codename__regex="^(add|change|delete)_")
    permissions = Permission.objects.filter(content_type__in=[kind.pk for kind in types.values()]).exclude(unused)
    return permissions.select_related("content_type").order_by(
        "content_type__app_label", "content_type__model", "codename"
    )


class PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    def label_from_instance(self, permission: Any) -> str:
        model = permission.content_type.model_class()
        model_label = capfirst(str(model._meta.verbose_name_plural)) if model else permission.content_type.model
        return f"{model_label}: {permission.name}"


class GrantingForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """A form that grants at most what the signed-in user has."""

    actor: User

    def clean_permissions(self) -> Any:
        return self._clean_grants("permissions")

    def clean_user_permissions(self) -> Any:
        return self._clean_grants("user_permissions")

    def clean_groups(self) -> Any:
        selected = self.cleaned_data["groups"]
        new = set(selected) - set(self.instance.groups.all() if self.instance.pk else ())
        missing = [group.name for group in new if not has_all(self.actor, names_of(group.permissions.all()))]
        check_grant(missing)
        return selected

    def _clean_grants(self, name: str) -> Any:
        selected = self.cleaned_data[name]
        new = set(selected) - set(getattr(self.instance, name).all() if self.instance.pk else ())
        missing = [str(p.name) for p in new if not has_all(self.actor, [f"{p.content_type.app_label}.{p.codename}"])]
        check_grant(missing)
        return selected
