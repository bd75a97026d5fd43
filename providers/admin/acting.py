"""What actions do to several providers at once, each by itself: one that fails costs no other its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from providers.errors import ProviderError
from providers.manager import get_provider_manager
from providers.models import ProviderConfig
from providers.types import ProbeResult

T = TypeVar("T")

GONE = "It was deleted meanwhile."


async def check_each(names: Iterable[str]) -> dict[str, ProbeResult | ProviderError]:
    return await _of_each(get_provider_manager().health_check, names)


async def refresh_each(names: Iterable[str]) -> dict[str, list[str] | ProviderError]:
    return await _of_each(get_provider_manager().refresh_models, names)


async def _of_each(work: Callable[[str], Awaitable[T]], names: Iterable[str]) -> dict[str, T | ProviderError]:
    async def attempt(name: str) -> T | ProviderError:
        try:
            return await work(name)
        except ProviderError as error:
            return error
        except ProviderConfig.DoesNotExist:
            return ProviderError(GONE, provider=name)

    names = list(names)
    return dict(zip(names, await asyncio.gather(*map(attempt, names)), strict=True))
