"""`ProviderManager`: chooses a provider for each chat, asks it, and asks another when it fails."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import AsyncToSync, sync_to_async
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from pydantic import ValidationError as SettingsError

from llmhub.access.secrets import UndecryptableSecretError
from providers import routing
from providers.backends import BACKENDS
from providers.backends.base import BaseProvider
from providers.errors import (
    ConfigurationError,
    NoProviderError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from providers.http import HttpClient
from providers.limits import RateLimiter
from providers.models import ProviderConfig
from providers.pricing import cost_usd
from providers.registry import ConfigRegistry, ProviderEntry
from providers.routing import Candidate, MayUse, Plan
from providers.types import (
    Attempt,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Endpoint,
    ProbeResult,
    ProviderType,
    Timeouts,
    Usage,
)

logger = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 15.0
REFRESH_TIMEOUT_S = 60.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Journey:
    """What has been tried for one chat so far; the caller keeps it to know this even when cancelled."""

    attempts: list[Attempt] = field(default_factory=list)
    candidate: Candidate | None = None
    """The one that answers, or was tried last."""
    past_upstream_s: float = 0.0
    attempt_began_s: float | None = None

    @property
    def provider(self) -> str | None:
        return self.candidate.provider.name if self.candidate else None

    @property
    def model_name(self) -> str | None:
        return self.candidate.model_name if self.candidate else None

    @property
    def upstream_s(self) -> float:
        """The time spent at providers so far, the attempt under way included."""
        now = time.monotonic() if self.attempt_began_s is not None else 0.0
        return self.past_upstream_s + (now - (self.attempt_began_s or 0.0))

    @property
    def attempt_count(self) -> int:
        """How many providers were asked so far, the one being asked included."""
        return len(self.attempts) + (self.attempt_began_s is not None)

    def cost_usd(self, usage: Usage | None) -> Decimal | None:
        return cost_usd(usage, self.candidate.price) if self.candidate else None


def anything(_provider: str, _model_name: str) -> bool:
    return True


class ProviderManager:
    """One per process, safe from any thread. Connections belong to the event loop that opened them."""

    def __init__(self, registry: ConfigRegistry | None = None) -> None:
        self.registry = registry or ConfigRegistry()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopBackends] = WeakKeyDictionary()
        self._lock = threading.Lock()

    # What is configured

    def register_provider(self, name: str, **values: Any) -> tuple[ProviderConfig, bool]:
        """Add a provider, or change the one of that name; what is not given keeps its value.

        Shape: `values` are fields of ProviderConfig; returns the row and whether it is new. The first
        provider becomes the default.
        Errors: django.core.exceptions.ValidationError by field.
        """
        try:
            return _register(name, values)
        except IntegrityError:  # another process added one of this name, or the first of all, at the same moment
            return _register(name, values)

    def change_provider(self, name: str, **values: Any) -> ProviderConfig:
        """Change a provider; what is not given keeps its value.

        Errors: ProviderConfig.DoesNotExist; django.core.exceptions.ValidationError by field.
        """
        with transaction.atomic():
            return _change(ProviderConfig.objects.select_for_update().get(name=name), values)

    def remove_provider(self, name: str) -> None:
        """Forget a provider. The default moves to the next by priority; past chats keep the name.

        Errors: ProviderConfig.DoesNotExist.
        """
        ProviderConfig.objects.get(name=name).delete()

    def set_default(self, name: str) -> ProviderConfig:
        """Errors: ProviderConfig.DoesNotExist."""
        return ProviderConfig.objects.make_default(name)

    def list_all_models(self) -> dict[str, list[str]]:
        """The models each provider has, or last had; from memory, never from the providers."""
        return {
            entry.name: sorted(model.name for model in entry.models.values() if model.available)
            for entry in self.registry.snapshot().in_order
        }

    def get_status(self) -> dict[str, Any]:
        """What is known of every provider, from memory."""
        snapshot = self.registry.snapshot()
        return {
            "default_provider": snapshot.default_provider,
            "providers": {
                entry.name: {"type": entry.provider_type.value, "enabled": entry.enabled, "health": entry.health.value}
                for entry in snapshot.in_order
            },
        }

    # Who answers

    def get_provider(self, name: str) -> BaseProvider:
        """Return the backend of a provider, for the running event loop.

        Errors: NoProviderError for an unknown name; ConfigurationError where its key cannot be decrypted.
        """
        entry = self.registry.snapshot().providers.get(name)
        if entry is None:
            raise NoProviderError(f"There is no provider named `{name}`.", provider=name)
        return self._backends().get(entry)

    def plan(self, *, provider: str | None = None, model_name: str = "", may_use: MayUse = anything) -> Plan:
        """Return where a chat would be tried, in order.

        Errors: see routing.plan.
        """
        return routing.plan(self.registry.snapshot(), provider=provider, model_name=model_name, may_use=may_use)

    async def chat(
        self, request: ChatRequest, *, plan: Plan | None = None, failover: bool = True, journey: Journey | None = None
    ) -> ChatResponse:
        """Return the answer of the first candidate that gives one.

        Errors: the ProviderError of the only attempt, or NoProviderError with all of them.
        """
        journey = journey if journey is not None else Journey()
        failures: list[ProviderError] = []
        for candidate in self._to_try(request, plan, failover):
            try:
                async with self._attempt(candidate, journey) as backend:
                    return await backend.chat(replace(request, model_name=candidate.model_name))
            except ProviderError as error:
                failures.append(error)
                if not error.failover:
                    break
        raise _all_failed(failures, journey)

    async def stream_chat(
        self, request: ChatRequest, *, plan: Plan | None = None, failover: bool = True, journey: Journey | None = None
    ) -> AsyncGenerator[ChatChunk]:
        """Yield the answer of the first candidate that begins one; once it has begun there is no other.

        Errors: as `chat` before the first chunk; after it, the ProviderError that broke the stream.
        """
        journey = journey if journey is not None else Journey()
        failures: list[ProviderError] = []
        for candidate in self._to_try(request, plan, failover):
            has_begun = False
            try:
                async with (
                    self._attempt(candidate, journey) as backend,
                    aclosing(
                        _from_first_content(backend.stream_chat(replace(request, model_name=candidate.model_name)))
                    ) as chunks,
                ):
                    async for chunk in chunks:
                        has_begun = True
                        yield chunk
                    return
            except ProviderError as error:
                if has_begun:
                    raise
                failures.append(error)
                if not error.failover:
                    break
        raise _all_failed(failures, journey)

    def _to_try(self, request: ChatRequest, plan: Plan | None, failover: bool) -> tuple[Candidate, ...]:
        candidates = (plan or self.plan(model_name=request.model_name)).candidates
        return candidates if failover else candidates[:1]

    @asynccontextmanager
    async def _attempt(self, candidate: Candidate, journey: Journey) -> AsyncIterator[BaseProvider]:
        """Note one try in the journey, however it ends."""
        journey.candidate = candidate
        journey.attempt_began_s = time.monotonic()
        failure: BaseException | None = None
        try:
            current = self.registry.snapshot().providers.get(candidate.provider.name)
            if current is None or not current.enabled:
                raise ConfigurationError("The provider was switched off meanwhile.", provider=candidate.provider.name)
            await self._limiter().admit(candidate.provider.name, candidate.provider.rate_limit)
            yield self._backends().get(current)
        except BaseException as error:
            failure = error
            raise
        finally:
            seconds = time.monotonic() - journey.attempt_began_s
            journey.past_upstream_s += seconds
            journey.attempt_began_s = None
            journey.attempts.append(_attempt_of(candidate, failure, seconds))

    # How they are

    async def health_check_all(self) -> dict[str, ProbeResult]:
        """Probe every enabled provider at once, and keep what was found."""
        return await _of_each_enabled(self.health_check)

    async def health_check(self, name: str) -> ProbeResult:
        """Probe one provider at no cost in tokens, and keep what was found.

        Errors: ProviderConfig.DoesNotExist.
        """
        row = await ProviderConfig.objects.aget(name=name)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                probe = await self._backends().get(_entry_of(row)).health_check()
        except ProviderError as error:
            probe = ProbeResult(ok=False, latency_ms=0, error=error.message)
        except TimeoutError:
            words = f"No answer within {PROBE_TIMEOUT_S:.0f} seconds."
            probe = ProbeResult(ok=False, latency_ms=round(PROBE_TIMEOUT_S * 1000), error=words)
        await sync_to_async(row.record_probe)(probe, now=timezone.now())
        return probe

    async def refresh_all_models(self) -> dict[str, list[str]]:
        """Ask every enabled provider at once for its models; one that fails is logged and keeps what it last had."""
        return await _of_each_enabled(self.refresh_models)

    async def refresh_models(self, name: str) -> list[str]:
        """Ask one provider for its models, and keep them.

        Errors: ProviderError when it cannot tell (what it last had stays); ProviderConfig.DoesNotExist.
        """
        row = await ProviderConfig.objects.aget(name=name)
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT_S):
                infos = await self._backends().get(_entry_of(row)).list_models()
        except TimeoutError:
            raise ProviderTimeoutError(
                f"Provider `{name}` did not list its models within {REFRESH_TIMEOUT_S:.0f} seconds.", provider=name
            ) from None
        return await sync_to_async(row.record_models)(infos, now=timezone.now())

    # Connections

    def _backends(self) -> _LoopBackends:
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._loops:
                self._loops[loop] = _LoopBackends()
            return self._loops[loop]

    def _limiter(self) -> RateLimiter:
        return self._backends().limiter

    async def close_all(self) -> None:
        """Close the connections of the running event loop."""
        with self._lock:
            backends = self._loops.pop(asyncio.get_running_loop(), None)
        if backends is not None:
            await backends.close()


class _LoopBackends:
    """The backends of one event loop, over one client; made anew when their configuration changes."""

    def __init__(self) -> None:
        self.client = HttpClient(allowed_private_hosts=tuple(settings.ALLOWED_PRIVATE_HOSTS))
        self.limiter = RateLimiter(settings.REDIS_URL)
        self._by_name: dict[str, tuple[ProviderEntry, BaseProvider]] = {}

    def get(self, entry: ProviderEntry) -> BaseProvider:
        known, backend = self._by_name.get(entry.name, (None, None))
        if backend is None or known is None or _address(known) != _address(entry):
            backend = _new_backend(entry, self.client)
            self._by_name[entry.name] = (entry, backend)
        return backend

    async def close(self) -> None:
        await self.client.aclose()
        await self.limiter.close()


def _new_backend(entry: ProviderEntry, client: HttpClient) -> BaseProvider:
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

    Errors: ConfigurationError when the key cannot be decrypted.
    """
    try:
        api_key = entry.api_key.reveal() if entry.api_key else ""
    except UndecryptableSecretError:
        raise ConfigurationError(
            f"The API key of provider `{entry.name}` cannot be decrypted: enter it again, or bring back the key that "
            "LLMHUB_SECRET_KEYS had.",
            provider=entry.name,
        ) from None
    return Endpoint(
        name=entry.name,
        base_url=entry.base_url,
        api_key=api_key,
        timeouts=Timeouts(read_s=entry.timeout_s),
        settings=entry.settings,
    )


def _entry_of(row: ProviderConfig) -> ProviderEntry:
    return ProviderEntry(
        name=row.name,
        provider_type=ProviderType(row.provider_type),
        base_url=row.effective_base_url,
        api_key=row.api_key or None,
        timeout_s=row.timeout,
        settings=row.settings,
    )


@transaction.atomic
def _register(name: str, values: Mapping[str, Any]) -> tuple[ProviderConfig, bool]:
    row = ProviderConfig.objects.select_for_update().filter(name=name).first()
    if row is not None:
        return _change(row, values), False
    row = ProviderConfig(name=name, **values)
    row.full_clean(validate_unique=False, validate_constraints=False)
    row.save(force_insert=True)
    row.is_default = ProviderConfig.objects.make_default_if_none(name)
    return row, True


def _change(row: ProviderConfig, values: Mapping[str, Any]) -> ProviderConfig:
    """Change a locked row, and only what is given: probes write to the other columns meanwhile."""
    for field_name, value in values.items():
        setattr(row, field_name, value)
    row.full_clean(validate_unique=False, validate_constraints=False)
    row.save(update_fields=[*values, "updated_at"])
    return row


async def _of_each_enabled(work: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """Do the same for every enabled provider at once; one that fails is logged and left out."""
    names = [row.name async for row in ProviderConfig.objects.filter(enabled=True).in_order()]
    results = await asyncio.gather(*(work(name) for name in names), return_exceptions=True)
    found: dict[str, T] = {}
    for name, result in zip(names, results, strict=True):
        if isinstance(result, ProviderError):
            logger.warning("Provider %s: %s", name, result.message)
        elif isinstance(result, Exception):
            logger.error("Provider %s: %s", name, type(result).__name__, exc_info=result)
        elif isinstance(result, BaseException):
            raise result
        else:
            found[name] = result
    return found


async def _from_first_content(chunks: AsyncGenerator[ChatChunk]) -> AsyncGenerator[ChatChunk]:
    """Hold back what comes before the first content, so that a failure until then can go to another provider."""
    held: list[ChatChunk] = []
    has_content = False
    async with aclosing(chunks):
        async for chunk in chunks:
            has_content = has_content or chunk.has_content
            if not has_content:
                held.append(chunk)
                continue
            while held:
                yield held.pop(0)
            yield chunk
        for chunk in held:
            yield chunk


def _attempt_of(candidate: Candidate, failure: BaseException | None, seconds: float) -> Attempt:
    attempt = Attempt(
        provider=candidate.provider.name,
        model_name=candidate.model_name,
        ok=failure is None,
        latency_ms=round(seconds * 1000),
    )
    if failure is None:
        return attempt
    if not isinstance(failure, ProviderError):
        return replace(attempt, error_type="Cancelled", error="The caller went away or the time was up.")
    return replace(
        attempt,
        error_type=type(failure).__name__,
        error=failure.message,
        upstream_status=failure.upstream_status,
        upstream_request_id=failure.upstream_request_id,
    )


def _all_failed(failures: list[ProviderError], journey: Journey) -> ProviderError:
    """Return the error that stands for all attempts: the last when it decides alone, else one that lists them."""
    last = failures[-1]
    waits = [f.retry_after_s for f in failures if f.retry_after_s is not None]
    if len(failures) == 1 or not last.failover:
        error = last
    elif all(isinstance(failure, RateLimitedError) for failure in failures):
        error = RateLimitedError(_listed(journey), retry_after_s=min(waits, default=None))
    else:
        error = NoProviderError(_listed(journey), retry_after_s=min(waits, default=None))
    error.attempts = tuple(journey.attempts)
    return error


def _listed(journey: Journey) -> str:
    tried = "; ".join(f"{attempt.provider}: {attempt.error}" for attempt in journey.attempts)
    return f"All {len(journey.attempts)} providers failed. {tried}"


@cache
def get_provider_manager() -> ProviderManager:
    """The manager of this process."""
    return ProviderManager()


def run(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call one of the manager's coroutine methods from synchronous code.

    It runs on an event loop of its own, whose connections are closed afterwards: a view's thread would
    otherwise be lent the loop that serves chats.
    """

    async def call_and_close() -> T:
        try:
            return await function(*args, **kwargs)
        finally:
            await get_provider_manager().close_all()

    return AsyncToSync(call_and_close, force_new_loop=True)()
