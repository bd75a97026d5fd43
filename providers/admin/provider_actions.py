"""Admin actions on providers."""

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
    ConnectionTest,
    ConnectionTestSource,
    ProviderConfig,
    ProviderConfigQuerySet,
    UnrecordedTestError,
)
from providers.types import ProbeResult

T = TypeVar("T")

ACTIONS = ("check_now", "refresh_models", "make_default", "enable", "disable")
DELETED = "It has been deleted."


class ProviderActions(RowActions):
    actions = row_actions = ACTIONS

    @admin.action(description="Check now", permissions=["change"])
    def check_now(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        rows = list(providers)
        try:
            tests = {
                row.name: ConnectionTest.objects.begin(row, **requester(request), through=ConnectionTestSource.CHECK)
                for row in rows
            }
            probes = run(_check_each, tests)
        except (UnrecordedTestError, ProviderError) as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        faults = {
            name: probe.message if isinstance(probe, ProviderError) else probe.error for name, probe in probes.items()
        }
        for name, fault in faults.items():
            tests[name].end(ok=not fault, words=fault)
        failed = {name: fault for name, fault in faults.items() if fault}
        self._report(request, succeeded=len(faults) - len(failed), outcome="healthy", failed=failed)

    @admin.action(description="Refresh models", permissions=["change"])
    def refresh_models(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        try:
            results = run(_refresh_each, providers.names())
        except ProviderError as error:
            self.message_user(request, error.message, messages.ERROR)
            return
        failed = {name: error.message for name, error in results.items() if isinstance(error, ProviderError)}
        models = sum(len(names) for names in results.values() if not isinstance(names, ProviderError))
        self._report(
            request, succeeded=len(results) - len(failed), outcome=f"refreshed, {models} models", failed=failed
        )

    @admin.action(description="Make default", permissions=["change"])
    def make_default(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        names = providers.names()
        if len(names) != 1:
            self.message_user(request, "Select exactly one provider: there is only one default.", messages.ERROR)
            return
        row = get_provider_manager().set_default(names[0])
        self.message_user(request, f"{row.name} is now the default.", messages.SUCCESS)
        if not row.enabled:
            self.message_user(request, f"{row.name} is disabled: chats skip it.", messages.WARNING)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self._switch(request, providers, on=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, providers: ProviderConfigQuerySet) -> None:
        self._switch(request, providers, on=False)

    def _switch(self, request: HttpRequest, providers: ProviderConfigQuerySet, *, on: bool) -> None:
        word = "enabled" if on else "disabled"
        names = providers.filter(enabled=not on).names()
        already = providers.filter(enabled=on).names()
        changed = ProviderConfig.objects.filter(name__in=names).switch(on=on)
        if changed:
            self.message_user(request, f"{changed} {word}: {', '.join(names)}.", messages.SUCCESS)
        if already:
            self.message_user(request, f"{len(already)} already {word}: {', '.join(already)}.", messages.INFO)

    def _report(self, request: HttpRequest, *, succeeded: int, outcome: str, failed: dict[str, str]) -> None:
        if succeeded:
            self.message_user(request, f"{succeeded} {outcome}.", messages.SUCCESS)
        for name, error in failed.items():
            self.message_user(request, f"{name} failed: {error}", messages.ERROR)


def requester(request: HttpRequest) -> dict[str, str]:
    """Return the user and address of a connection test."""
    return {"actor": request.user.get_username(), "address": client_address(request)}


async def _check_each(names: Iterable[str]) -> dict[str, ProbeResult | ProviderError]:
    return await _run_for_each(get_provider_manager().health_check, names)


async def _refresh_each(names: Iterable[str]) -> dict[str, list[str] | ProviderError]:
    return await _run_for_each(get_provider_manager().refresh_models, names)


async def _run_for_each(call: Callable[[str], Awaitable[T]], names: Iterable[str]) -> dict[str, T | ProviderError]:
    async def attempt(name: str) -> T | ProviderError:
        try:
            return await call(name)
        except ProviderError as error:
            return error
        except ProviderConfig.DoesNotExist:
            return ProviderError(DELETED, provider=name)

    names = list(names)
    return dict(zip(names, await asyncio.gather(*map(attempt, names)), strict=True))
