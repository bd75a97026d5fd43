"""People who are signed in, by what they may do."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission, User
from django.test import Client


def make_staff(name: str = "ann", *, group: str = "", permissions: tuple[str, ...] = ()) -> User:
    """Somebody of this group and with these permissions alone; of staff without any if there are none."""
    user = User.objects.create_user(name, is_staff=True)
    user.groups.set([Group.objects.get(name=group)] if group else [])
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def member_of(group: str = "", *, permissions: tuple[str, ...] = ()) -> Client:
    return signed_in(make_staff(f"somebody-{group}", group=group, permissions=permissions))
