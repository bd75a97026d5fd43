"""The root of the hub's own errors."""

from __future__ import annotations


class HubError(Exception):
    """An error whose message quotes no input, and may be logged."""
