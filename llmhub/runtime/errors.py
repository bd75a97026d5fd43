"""The root of the hub's own errors."""

from __future__ import annotations


class HubError(Exception):
    """An error whose words are the hub's own: they quote nothing that it was given, and may be logged."""
