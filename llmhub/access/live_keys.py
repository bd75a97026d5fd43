"""The API keys in memory, by digest: a revocation reaches every process within a second."""

from __future__ import annotations

from collections.abc import Mapping

from llmhub.access.keys import is_well_formed, key_digest, presented_keys
from llmhub.access.models import ApiKey
from llmhub.access.principals import KeyEntry
from llmhub.runtime.live_snapshot import CONFIGURATION, LiveSnapshot


def load_keys() -> Mapping[str, KeyEntry]:
    """Read all keys. Runs one query."""
    return {key.digest: key.entry() for key in ApiKey.objects.select_related("application")}


API_KEYS = LiveSnapshot(load_keys, CONFIGURATION)


def is_guess(authorization: str | None, x_api_key: str | None) -> bool:
    """Whether these headers carry an unknown key, and none that is known."""
    presented, known = presented_keys(authorization, x_api_key), API_KEYS.get()
    return bool(presented) and not any(is_well_formed(key) and key_digest(key) in known for key in presented)
