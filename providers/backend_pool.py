"""The backends of one event loop and the connections they share."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from pydantic import ValidationError as SettingsError

from llmhub.access.secrets import MisplacedSecretError, Secret, UndecryptableSecretError
from providers.backends import BACKENDS
from providers.backends.base import BaseProvider
from providers.errors import ConfigurationError
from providers.http import HttpClient
from providers.hubs import own_mark
from providers.key_places import move_fault
from providers.resolution.limits import RateLimiter
from providers.snapshot import ProviderEntry
from providers.types import Endpoint, Timeouts


class BackendPool:
    """One event loop's backends, over one client; a backend is made anew when its configuration changes."""

    def __init__(self) -> None:
        self.client = HttpClient(allowed_private_hosts=tuple(settings.ALLOWED_PRIVATE_HOSTS), mark=own_mark())
        self.limiter = RateLimiter(settings.REDIS_URL)
        self._by_name: dict[str, tuple[ProviderEntry, BaseProvider]] = {}

    def get(self, entry: ProviderEntry) -> BaseProvider:
        known, backend = self._by_name.get(entry.name, (None, None))
        if backend is None or known is None or _address(known) != _address(entry):
            backend = new_backend(entry, self.client)
            self._by_name[entry.name] = (entry, backend)
        return backend

    async def close(self) -> None:
        await self.client.aclose()
        await self.limiter.close()


def new_backend(entry: ProviderEntry, client: HttpClient) -> BaseProvider:
    """Return what speaks to a provider.

    Errors: ConfigurationError when its key cannot be decrypted or its settings are not valid.
    """
    try:
        return BACKENDS[entry.provider_type](endpoint(entry), client)
    except SettingsError:  # written past the checks of the admin and the API
        raise ConfigurationError(
            f"The settings of provider `{entry.name}` are not valid: save it again to see why.", provider=entry.name
        ) from None


def _address(entry: ProviderEntry) -> tuple[Any, ...]:
    return entry.provider_type, entry.base_url, entry.api_key, entry.timeout_s, entry.settings


def endpoint(entry: ProviderEntry) -> Endpoint:
    """Return what a backend needs, the key in clear.

    Errors: ConfigurationError when the key cannot be decrypted, or was entered for another place.
    """
    return Endpoint(
        name=entry.name,
        base_url=entry.base_url,
        api_key=_reveal(entry.api_key, entry) if entry.api_key else "",
        timeouts=Timeouts(read_s=entry.timeout_s),
        settings=entry.settings,
    )


def _reveal(key: Secret, entry: ProviderEntry) -> str:
    place = entry.key_place
    if not place:
        raise ConfigurationError(f"The base URL of provider `{entry.name}` is not valid.", provider=entry.name)
    try:
        return key.reveal(place=place)
    except MisplacedSecretError:
        fault = move_fault(key.place, place)
        raise ConfigurationError(f"The API key of provider `{entry.name}` {fault}.", provider=entry.name) from None
    except UndecryptableSecretError:
        raise ConfigurationError(
            f"The API key of provider `{entry.name}` cannot be decrypted: enter it again, or bring back the key that "
            "LLMHUB_SECRET_KEYS had.",
            provider=entry.name,
        ) from None
