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
    """Lets a caller in whose key, or whose user, has the scope that the view names for the method.

    Shape: a view says `scopes = {"GET": Scope.…, "POST": Scope.…}`; HEAD is as GET.
    Errors: MethodNotAllowed for what the view does not name.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        principal = request_principal(request)
        if principal is None:
            return False
        wanted = getattr(view, "scopes", {}).get("GET" if request.method == "HEAD" else request.method)
        if wanted is None:
            raise MethodNotAllowed(str(request.method))
        self.message = f"This needs the scope {wanted}."
        return principal.has(wanted)
