from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from llmhub.access.models import ApiKeyQuerySet, KeyState
from llmhub.access.principals import Scope

VALID = "in_force"
"""Keys that are accepted, whether or not they expire soon."""


class StateFilter(DropdownFilter):  # type: ignore[misc]  # untyped
    title = "status"
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(VALID, "active or expires soon"), *KeyState.choices]

    def queryset(self, _request: HttpRequest, keys: QuerySet[Any]) -> QuerySet[Any] | None:
        assert isinstance(keys, ApiKeyQuerySet)
        if self.value() == VALID:
            return keys.live(now=timezone.now())
        return keys.in_state(KeyState(self.value()), now=timezone.now()) if self.value() in KeyState.values else None


class ScopeFilter(DropdownFilter):  # type: ignore[misc]  # untyped
    title = "scope"
    parameter_name = "scope"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(scope.value, scope.value) for scope in Scope]

    def queryset(self, _request: HttpRequest, keys: QuerySet[Any]) -> QuerySet[Any] | None:
        return keys.filter(scopes__contains=[self.value()]) if self.value() else None
