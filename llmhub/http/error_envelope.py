"""The error object of the hub's own API: `{"error": {"type", "message", "code", "param"}}`."""

from __future__ import annotations

from typing import Any

from rest_framework import exceptions


def error_body(message: str, *, type_: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"type": type_, "message": message, "code": code, "param": param}}


TYPES: dict[type[exceptions.APIException], str] = {
    exceptions.NotAuthenticated: "authentication_error",
    exceptions.AuthenticationFailed: "authentication_error",
    exceptions.PermissionDenied: "permission_error",
    exceptions.NotFound: "not_found_error",
    exceptions.Throttled: "rate_limit_error",
}


def api_error_body(error: exceptions.APIException) -> dict[str, Any]:
    """Convert a DRF exception to the hub's error object; it reports the first of several faults."""
    param, message, code = first_fault(error.detail)
    type_ = TYPES.get(type(error), "invalid_request_error" if error.status_code < 500 else "server_error")
    return error_body(message, type_=type_, code=code, param=param)


def first_fault(detail: Any, path: str = "") -> tuple[str | None, str, str | None]:
    """Return the field, message and code of the first fault in a DRF error detail."""
    if isinstance(detail, dict) and detail:
        key, value = next(iter(detail.items()))
        inner = path if key == "non_field_errors" else f"{path}.{key}" if path else str(key)
        return first_fault(value, inner)
    if isinstance(detail, list) and detail:
        return first_fault(detail[0], path)
    message = f"{path}: {detail}" if path else str(detail)
    return path or None, message, getattr(detail, "code", None)
