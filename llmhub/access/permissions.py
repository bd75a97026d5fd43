"""Scopes on DRF views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from llmhub.access.authentication import request_principal

if TYPE_CHECKING:  # DRF's views import this module
    from rest_framework.views import APIView


class HasScope(BasePermission):
    """Admits callers whose key or user has the scope that the view requires for the method.

    Shape: a view declares `scopes = {"GET": Scope.…, "POST": Scope.…}`; HEAD counts as GET.
    Errors: MethodNotAllowed for a method without a scope.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        principal = request_principal(request)
        if principal is None:
            return False
        scope = getattr(view, "scopes", {}).get("GET" if request.method == "HEAD" else request.method)
        if scope is None:
            raise MethodNotAllowed(str(request.method))
        self.message = f"This needs the scope {scope}."
        return principal.has(scope)
