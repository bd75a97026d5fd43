"""Rules for granting permissions and managing accounts."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

PermissionNames = frozenset[str]


def names_of(permissions: QuerySet[Permission]) -> PermissionNames:
    """Return the names of permissions, e.g. `chat.view_chat`. Runs one query."""
    pairs = permissions.values_list("content_type__app_label", "codename")
    return frozenset(f"{app_label}.{codename}" for app_label, codename in pairs)


def permissions_of(user: User) -> PermissionNames:
    """Return a user's own and group permissions, even while the user is disabled. Runs one query."""
    return names_of(Permission.objects.filter(Q(user=user) | Q(group__user=user)).distinct())


def has_all(user: User, permissions: Iterable[str]) -> bool:
    return user.is_superuser or set(permissions) <= user.get_all_permissions()


def check_grant(missing: Iterable[str]) -> None:
    """Refuse to grant what the granter lacks. Errors: ValidationError that names it, if there is any."""
    if names := ", ".join(sorted(missing)):
        raise ValidationError(f"You cannot grant permissions that you do not have: {names}.")


def may_manage(actor: User, user: User) -> bool:
    """Whether `actor` may manage an account: never one with more permissions."""
    if actor.is_superuser or actor.pk == user.pk:
        return True
    return not user.is_superuser and has_all(actor, permissions_of(user))
