"""How many connections a process has open, in all and from one address, and who makes room for another."""

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

MOST_FILES = 65_536
MOST_CONNECTIONS = 8_192
OTHER_FILES = 256
"""What a process has open beside connections of callers and, for each of these, one to a provider."""


class Silent(Protocol):
    """A connection, and whether nothing is under way on it."""

    @property
    def is_silent(self) -> bool: ...
    def drop(self) -> None: ...


@dataclass(slots=True)
class _Group:
    """The connections of one address, in each part those first that were silent longest."""

    unheard: dict[Silent, None] = field(default_factory=dict)
    heard: dict[Silent, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.unheard) + len(self.heard)

    def remove(self, connection: Silent) -> bool:
        """Take a connection out; return whether it was there."""
        for part in (self.heard, self.unheard):
            if connection in part:
                del part[connection]
                return True
        return False


class ConnectionBounds:
    """The open connections of a process.

    Where there is no room, one is closed for a new one: of those on which no request was heard yet the one that is
    silent longest, else of the others. Who only holds connections keeps nobody out, a probe neither.
    """

    def __init__(self) -> None:
        self.most = self.most_per_address = sys.maxsize
        self._count = 0
        self._groups: dict[str, _Group] = {}

    def enter(self, address: str, connection: Silent) -> bool:
        """Take in a new connection; False where that is impossible, as all others are at work."""
        name = address_group(address)
        if len(self._groups.get(name, ())) >= self.most_per_address and not self._make_room(name):
            return False
        if self._count >= self.most and not any(map(self._make_room, self._largest_first())):
            return False
        self._groups.setdefault(name, _Group()).unheard[connection] = None
        self._count += 1
        return True

    def note(self, address: str, connection: Silent) -> None:
        """Note that a request was heard on a connection."""
        group = self._groups.get(address_group(address))
        if group is not None and group.remove(connection):
            group.heard[connection] = None

    def leave(self, address: str, connection: Silent) -> None:
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
        for connection in chain(group.unheard, group.heard):
            if connection.is_silent:
                self.leave(name, connection)
                connection.drop()
                return True
        return False


@lru_cache(maxsize=8192)
def address_group(address: str) -> str:
    """Return what one caller has of addresses: one of IPv4, a network of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False).network_address)
    return address


def raise_file_limit() -> int:
    """Let this process open as many files as it may; return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return MOST_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    logger.info("This process may have %d files open; it was started with %d.", most, soft)
    return most


def connections_for(files: int) -> int:
    """Return how many connections fit in so many open files: each may need another, to a provider."""
    return max(1, min(MOST_CONNECTIONS, (files - OTHER_FILES) // 2))
