"""Proxies of Django's and allauth's models, which the history of the configuration tracks."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, User

from llmhub.history.tracking import track_changes, track_links


@track_changes(app_label="people", exclude=["last_login"], secrets=["password"])
class TrackedUser(User):
    class Meta:
        proxy = True
        default_permissions = ()


@track_changes(app_label="people")
class TrackedGroup(Group):
    class Meta:
        proxy = True
        default_permissions = ()


@track_links(app_label="people")
class TrackedUserGroup(User.groups.through):  # type: ignore[misc, name-defined]  # Django makes it
    class Meta:
        proxy = True
        default_permissions = ()


@track_links(app_label="people")
class TrackedUserPermission(User.user_permissions.through):  # type: ignore[misc, name-defined]  # Django makes it
    class Meta:
        proxy = True
        default_permissions = ()


@track_links(app_label="people")
class TrackedGroupPermission(Group.permissions.through):  # type: ignore[misc, name-defined]  # Django makes it
    class Meta:
        proxy = True
        default_permissions = ()


@track_changes(app_label="people", exclude=["last_used_at"], secrets=["data"])
class TrackedSecondFactor(Authenticator):  # type: ignore[misc]  # untyped
    class Meta:
        proxy = True
        default_permissions = ()
