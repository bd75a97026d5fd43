"""Who may act upon whose account, and give what to whom."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

Named = frozenset[str]


def names_of(permissions: QuerySet[Permission]) -> Named:
    """Permissions by their names, e.g. `chat.view_chat`. Runs one query."""
    pairs = permissions.values_list("content_type__app_label", "codename")
    return frozenset(f"{app_label}.{codename}" for app_label, codename in pairs)


def permissions_of(user: User) -> Named:
    """What a user's rows and groups give, also while the user is switched off. Runs one query."""
    return names_of(Permission.objects.filter(Q(user=user) | Q(group__user=user)).distinct())


def has_all(user: User, permissions: Iterable[str]) -> bool:
    return user.is_superuser or set(permissions) <= user.get_all_permissions()


def refuse_to_give(beyond: Iterable[str]) -> None:
    """Refuse what whoever gives it may not do. Errors: ValidationError that names it, if there is any."""
    if names := ", ".join(sorted(beyond)):
        raise ValidationError(f"You cannot give what you may not do yourself: {names}.")


def may_manage(actor: User, user: User) -> bool:
    """Whether `actor` may act upon an account: nobody takes over one that may do more."""
    if actor.is_superuser or actor.pk == user.pk:
        return True
    return not user.is_superuser and has_all(actor, permissions_of(user))
