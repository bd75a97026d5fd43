from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from llmhub.access.models import Application


@pytest.fixture
def application(db: None) -> Application:
    return Application.objects.create(name="support-bot")


@pytest.fixture
def member_of(db: None) -> Callable[[str], Client]:
    """Return a client in whose session somebody of that group is signed in; of no group for an empty name."""

    def sign_in(group: str) -> Client:
        user = User.objects.create_user(f"somebody-{group}", is_staff=True)
        user.groups.set(Group.objects.filter(name=group))
        client = Client()
        client.force_login(user)
        return client

    return sign_in
