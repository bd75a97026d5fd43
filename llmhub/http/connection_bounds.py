"""Limit the open connections of a process, in total and per address; idle ones are evicted for new ones."""

from __future__ import annotations

import logging
import resource
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import chain
from typing import Protocol

logger = logging.getLogger(__name__)

MAX_FILES = 65_536
MAX_CONNECTIONS = 8_192
OTHER_FILES = 256
"""File descriptors beside the callers' connections and, for each of these, one to a provider."""


class EvictableConnection(Protocol):
    """A connection that may be dropped while `is_silent`: while it serves no request."""

    @property
    def is_silent(self) -> bool: ...
    def drop(self) -> None: ...


@dataclass(slots=True)
class _Group:
    """The connections of one address, the longest idle first."""

    without_request: dict[EvictableConnection, None] = field(default_factory=dict)
    with_request: dict[EvictableConnection, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.without_request) + len(self.with_request)

    def remove(self, connection: EvictableConnection) -> bool:
        """Remove a connection; return whether it was there."""
        for connections in (self.with_request, self.without_request):
            if connection in connections:
                del connections[connection]
                return True
        return False


class ConnectionBounds:
    """The open connections of a process.

    At the limit, a new connection evicts an idle one: the longest idle of those without a request so far, else of the
    others. So idle connections lock nobody out, probes included.
    """

    def __init__(self) -> None:
        self.max_total = self.max_per_address = sys.maxsize
        self._count = 0
        self._groups: dict[str, _Group] = {}

    def enter(self, address: str, connection: EvictableConnection) -> bool:
        """Register a new connection; return False if every other one is busy."""
        name = address_group(address)
        if len(self._groups.get(name, ())) >= self.max_per_address and not self._make_room(name):
            return False
        if self._count >= self.max_total and not any(map(self._make_room, self._largest_first())):
            return False
        self._groups.setdefault(name, _Group()).without_request[connection] = None
        self._count += 1
        return True

    def note(self, address: str, connection: EvictableConnection) -> None:
        """Record that a request arrived on a connection."""
        group = self._groups.get(address_group(address))
        if group is not None and group.remove(connection):
            group.with_request[connection] = None

    def leave(self, address: str, connection: EvictableConnection) -> None:
        name = address_group(address)
        group = self._groups.get(name)
        if group is not None and group.remove(connection):
            self._count -= 1
            if not group:
                del self._groups[name]

    def _largest_first(self) -> list[str]:
        return sorted(self._groups, key=lambda name: len(self._groups[name]), reverse=True)

    def _make_room(self, name: str) -> bool:
        group = self._groups[name]
        for connection in chain(group.without_request, group.with_request):
            if connection.is_silent:
                self.leave(name, connection)
                connection.drop()
                return True
        return False


@lru_cache(maxsize=8192)
def address_group(address: str) -> str:
    """Return the unit of addresses that one caller controls: an IPv4 address, or an IPv6 /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or ip_network((parsed, 64), strict=False).network_address)
    return address


def raise_file_limit() -> int:
    """Raise the soft limit of open files; return the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= limit:
        return MAX_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    logger.info("This process may have %d files open; it was started with %d.", limit, soft)
    return limit


def connections_for(files: int) -> int:
    """Return how many connections a file limit allows: each may need another, to a provider."""
    return max(1, min(MAX_CONNECTIONS, (files - OTHER_FILES) // 2))
