"""DRF authentication by API key, read from the database; the rules are those of the chat path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pghistory
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from llmhub.access.keys import is_well_formed, key_digest, presented_keys
from llmhub.access.models import ApiKey
from llmhub.access.principals import KeyEntry, KeyRefusedError, Principal, Scope, admit

SCOPE_PERMISSIONS = {
    Scope.CHAT: ("chat.use_chat",),
    Scope.PROVIDERS_READ: ("providers.view_providerconfig",),
    Scope.PROVIDERS_WRITE: (
        "providers.add_providerconfig",
        "providers.change_providerconfig",
        "providers.delete_providerconfig",
    ),
    Scope.AUDIT_READ: ("chat.view_chat",),
    Scope.AUDIT_READ_ALL: ("chat.view_chat",),
}
"""The permissions that a signed-in user needs in place of a key's scope."""


class ApiKeyAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        presented = presented_keys(request.headers.get("authorization"), request.headers.get("x-api-key"))
        if not presented:
            return None
        try:
            principal = admit(presented, self.entries(presented), now=timezone.now())
        except KeyRefusedError as error:
            raise AuthenticationFailed(error.message, code="invalid_api_key") from None
        pghistory.context(actor=principal.name)
        return principal, principal

    def entries(self, presented: Sequence[str]) -> Mapping[str, KeyEntry]:
        """Return the entries of the keys that are known, by digest. Runs one query for each key."""
        found = {key_digest(key): ApiKey.objects.find_entry(key) for key in presented if is_well_formed(key)}
        return {digest: entry for digest, entry in found.items() if entry}

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def user_principal(user: User | AnonymousUser) -> Principal:
    """Return the principal of a signed-in user; may run queries for the user's permissions."""
    if not getattr(user, "is_staff", False):
        return Principal(actor=str(user))
    granted = frozenset(scope.value for scope, needed in SCOPE_PERMISSIONS.items() if user.has_perms(needed))
    return Principal(actor=str(user), scopes=granted)


def request_principal(request: Request) -> Principal | None:
    """Return the caller of a request; None if unknown."""
    if isinstance(request.auth, Principal):
        return request.auth
    return user_principal(request.user) if request.user else None


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # it registers itself
    target_class = ApiKeyAuthentication
    match_subclasses = True
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An application's API key"}
