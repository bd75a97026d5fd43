from __future__ import annotations

from typing import Any, ClassVar


class SecretColumns:
    """Forbids URL lookups on secret columns, which would let a user guess a value character by character.

    A mixin to put before ModelAdmin.
    """

    secret_columns: ClassVar[frozenset[str]] = frozenset()

    def lookup_allowed(self: Any, lookup: str, value: str, request: Any = None) -> bool:
        allowed: bool = super().lookup_allowed(lookup, value, request)  # type: ignore[misc]  # ModelAdmin's
        return allowed and lookup.partition("__")[0] not in self.secret_columns
