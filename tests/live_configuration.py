"""The configuration as a process follows it: providers and keys, seen together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmhub.access.live_keys import API_KEYS, load_keys
from llmhub.access.principals import KeyEntry
from llmhub.runtime.live_snapshot import ConfigFollower, LiveSnapshot
from providers.snapshot import PROVIDERS, ProviderEntry, load_snapshot


@dataclass(frozen=True)
class Seen:
    providers: Mapping[str, ProviderEntry]
    in_order: tuple[ProviderEntry, ...]
    keys: Mapping[str, KeyEntry]


def seen_by_this_process() -> Seen:
    return Seen(PROVIDERS.get().providers, PROVIDERS.get().in_order, API_KEYS.get())


def stored() -> Seen:
    snapshot = load_snapshot()
    return Seen(snapshot.providers, snapshot.in_order, load_keys())


class LiveConfiguration:
    """A follower apart from this process's own."""

    def __init__(self) -> None:
        self._follower = ConfigFollower()
        self.providers = LiveSnapshot(load_snapshot, self._follower)
        self._keys = LiveSnapshot(load_keys, self._follower)
        self.start, self.stop = self._follower.start, self._follower.stop

    def snapshot(self) -> Seen:
        snapshot = self.providers.get()
        return Seen(snapshot.providers, snapshot.in_order, self._keys.get())
