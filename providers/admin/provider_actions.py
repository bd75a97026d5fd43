"""What an admin can do to providers, one or many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from django.contrib import admin, messages
from django.http import HttpRequest

from llmhub.adminkit.row_actions import RowActions
from llmhub.http.client_address import client_address
from providers.errors import ProviderError
from providers.manager import get_provider_manager, run
from providers.models import (
    AskedThrough,
    ConnectionTest,
    NotRecordedError,
    ProviderConfig,
    ProviderConfigQuerySet,
)
from providers.types import ProbeResult

T = TypeVar("T")

ACTIONS = ("check_now", "refresh_models", "make_default", "enable", "disable")
GONE = "It was deleted meanwhile."


class ProviderActions(RowActions):
    actions = row_actions = ACTIONS

    @admin.action(description="Check now", permissions=["change"])
    def check_now(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        rows = list(providers)
        try:
            tests = {
                row.name: ConnectionTest.objects.begin(row, **asker(request), through=AskedThrough.CHECK)
                for row in rows
            }
            probes = run(_check_each, tests)
        except (NotRecordedError, ProviderError) as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        faults = {name: _probe_fault(probe) for name, probe in probes.items()}
        for name, fault in faults.items():
            tests[name].end(ok=not fault, words=fault)
        failed = {name: fault for name, fault in faults.items() if fault}
        self._tell(request, well=len(faults) - len(failed), words="healthy", failed=failed)

    @admin.action(description="Refresh models", permissions=["change"])
    def refresh_models(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        try:
            found = run(_refresh_each, providers.names())
        except ProviderError as error:
            self.message_user(request, error.message, messages.ERROR)
            return
        failed = {name: error.message for name, error in found.items() if isinstance(error, ProviderError)}
        models = sum(len(names) for names in found.values() if not isinstance(names, ProviderError))
        self._tell(request, well=len(found) - len(failed), words=f"refreshed, {models} models", failed=failed)

    @admin.action(description="Make default", permissions=["change"])
    def make_default(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        names = providers.names()
        if len(names) != 1:
            self.message_user(request, "Choose one provider: there is one default.", messages.ERROR)
            return
        row = get_provider_manager().set_default(names[0])
        self.message_user(request, f"{row.name} is the default now.", messages.SUCCESS)
        if not row.enabled:
            self.message_user(request, f"{row.name} is disabled: chats pass it over.", messages.WARNING)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self._switch(request, providers, on=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self._switch(request, providers, on=False)

    def _switch(self, request: HttpRequest, providers: ProviderConfigQuerySet, *, on: bool) -> None:
        word = "enabled" if on else "disabled"
        to_switch = providers.filter(enabled=not on).names()
        already = providers.filter(enabled=on).names()
        switched = ProviderConfig.objects.filter(name__in=to_switch).switch(on=on)
        if switched:
            self.message_user(request, f"{switched} {word}: {', '.join(to_switch)}.", messages.SUCCESS)
        if already:
            self.message_user(request, f"{len(already)} already {word}: {', '.join(already)}.", messages.INFO)

    def _tell(self, request: HttpRequest, *, well: int, words: str, failed: dict[str, str]) -> None:
        if well:
            self.message_user(request, f"{well} {words}.", messages.SUCCESS)
        for name, error in failed.items():
            self.message_user(request, f"{name} failed: {error}", messages.ERROR)


def asker(request: HttpRequest) -> dict[str, str]:
    """Who asks for a connection test, and from where."""
    return {"actor": request.user.get_username(), "address": client_address(request)}


async def _check_each(names: Iterable[str]) -> dict[str, ProbeResult | ProviderError]:
    return await _of_each(get_provider_manager().health_check, names)


async def _refresh_each(names: Iterable[str]) -> dict[str, list[str] | ProviderError]:
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


def _probe_fault(probe: ProbeResult | ProviderError) -> str:
    return probe.message if isinstance(probe, ProviderError) else probe.error
