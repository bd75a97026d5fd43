"""`ProviderManager`: chooses a provider for each chat, asks it, and asks another when it fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from traceback import clear_frames
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import AsyncToSync, sync_to_async
from django.utils import timezone

from llmhub.access.principals import Principal
from llmhub.http.places import leave_place
from llmhub.runtime.database import release_connections
from llmhub.runtime.live_snapshot import LiveSnapshot
from providers.attempts import AttemptLog, all_failed
from providers.backend_pool import BackendPool
from providers.backends.base import BaseProvider
from providers.backends.reply_stream import ReplyStream
from providers.errors import (
    ConfigurationError,
    NoProviderError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from providers.faults import named_faults
from providers.http import Charge, free_of_charge
from providers.models import ProviderConfig
from providers.resolution.plan import Candidate, Plan
from providers.resolution.resolve import resolve
from providers.shared_calls import SharedCalls
from providers.snapshot import PROVIDERS, ProviderSnapshot, entry_of
from providers.types import (
    ChatRequest,
    ChatResponse,
    Delta,
    PartDelta,
    PartStarted,
    ProbeResult,
    ReasoningPart,
    RefusalPart,
    TextPart,
)

logger = logging.getLogger(__name__)

MAX_HELD_DELTAS = 256
"""So many deltas without content are held back; one that has sent more has begun its answer."""

PROBE_TIMEOUT_S = 15.0
REFRESH_TIMEOUT_S = 60.0

MAX_RUNS = 32
"""How many threads of a process may wait for providers at once, each with an event loop of its own."""

P = ParamSpec("P")
T = TypeVar("T")


class ProviderManager:
    """One per process, safe from any thread. Connections belong to the event loop that opened them."""

    def __init__(self, providers: LiveSnapshot[ProviderSnapshot] = PROVIDERS) -> None:
        self.snapshot = providers.get
        """Return the providers as they are now."""
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, BackendPool] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._calls = SharedCalls()

    # What is configured

    def register_provider(self, name: str, **values: Any) -> tuple[ProviderConfig, bool]:
        """Add a provider, or change the one of that name; what is not given keeps its value.

        Shape: `values` are fields of ProviderConfig; returns the row and whether it is new. The first
        provider becomes the default.
        Errors: django.core.exceptions.ValidationError by field.
        """
        return ProviderConfig.objects.register(name, values)

    def change_provider(self, name: str, **values: Any) -> ProviderConfig:
        """Change a provider; what is not given keeps its value.

        Errors: ProviderConfig.DoesNotExist; django.core.exceptions.ValidationError by field.
        """
        return ProviderConfig.objects.change(name, values)

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
            entry.name: sorted(model.name for model in entry.models.values() if model.is_offered)
            for entry in self.snapshot().in_order
        }

    def get_status(self) -> dict[str, Any]:
        """What is known of every provider, from memory."""
        snapshot = self.snapshot()
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
        entry = self.snapshot().providers.get(name)
        if entry is None:
            raise NoProviderError(f"There is no provider named `{name}`.", provider=name)
        return self._connections().get(entry)

    def plan(self, request: ChatRequest, *, principal: Principal | None = None, provider: str | None = None) -> Plan:
        """Return where a chat would be tried, in order.

        Errors: see `resolve`.
        """
        return resolve(request, principal, self.snapshot(), provider=provider)

    async def chat(
        self,
        request: ChatRequest,
        *,
        plan: Plan | None = None,
        failover: bool = True,
        journey: AttemptLog | None = None,
        charge: Charge = free_of_charge,
    ) -> ChatResponse:
        """Return the answer of the first candidate that gives one.

        Shape: `charge` is told of what is held of it.
        Errors: the ProviderError of the only attempt, or NoProviderError with all of them.
        """
        journey = journey if journey is not None else AttemptLog()
        failures: list[ProviderError] = []
        for candidate in self._to_try(request, plan, failover=failover):
            held = _Held(charge)
            try:
                async with self._attempt(candidate, journey) as backend:
                    return await backend.chat(
                        replace(request, model_name=candidate.model_name), note_sent=journey.note_sent, charge=held.take
                    )
            except ProviderError as error:
                held.give_back()
                failures.append(error)
                clear_frames(error.__traceback__)  # they hold the request, and each other until a collection
                if not error.failover:
                    break
        raise all_failed(failures, journey)

    async def stream_chat(
        self,
        request: ChatRequest,
        *,
        plan: Plan | None = None,
        failover: bool = True,
        journey: AttemptLog | None = None,
    ) -> AsyncGenerator[Delta]:
        """Yield the answer as it comes; see `open_stream`."""
        async with await self.open_stream(request, plan=plan, failover=failover, journey=journey) as stream:
            while deltas := await stream.next():
                for delta in deltas:
                    yield delta

    async def open_stream(
        self,
        request: ChatRequest,
        *,
        plan: Plan | None = None,
        failover: bool = True,
        journey: AttemptLog | None = None,
    ) -> AnswerStream:
        """Return the answer of the first candidate that begins one; once it has begun there is no other.

        What comes before the first content is held back, so that a failure until then can go to another candidate.
        Errors: as `chat`.
        """
        journey = journey if journey is not None else AttemptLog()
        failures: list[ProviderError] = []
        for candidate in self._to_try(request, plan, failover=failover):
            try:
                async with AsyncExitStack() as stack:
                    backend = await stack.enter_async_context(self._attempt(candidate, journey))
                    asked = replace(request, model_name=candidate.model_name)
                    stream = await stack.enter_async_context(
                        await backend.open_stream(asked, note_sent=journey.note_sent)
                    )
                    held = await _until_content(backend, stream)
                    return AnswerStream(backend, stream, held, stack.pop_all())
            except ProviderError as error:
                failures.append(error)
                clear_frames(error.__traceback__)  # they hold the request, and each other until a collection
                if not error.failover:
                    break
        raise all_failed(failures, journey)

    def _to_try(self, request: ChatRequest, plan: Plan | None, *, failover: bool) -> tuple[Candidate, ...]:
        candidates = (plan or self.plan(request)).candidates
        return candidates if failover else candidates[:1]

    @asynccontextmanager
    async def _attempt(self, candidate: Candidate, journey: AttemptLog) -> AsyncIterator[BaseProvider]:
        """Hand out the backend for one try, which the journey notes.

        Errors: any ProviderError; InternalError in place of any other exception.
        """
        with journey.attempt(candidate), named_faults(candidate.provider.name):
            current = self.snapshot().providers.get(candidate.provider.name)
            if current is None or not current.enabled:
                raise ConfigurationError("The provider was switched off meanwhile.", provider=candidate.provider.name)
            connections = self._connections()
            await connections.limiter.admit(candidate.provider.name, candidate.provider.rate_limit)
            yield connections.get(current)

    # How they are

    async def health_check_all(self) -> dict[str, ProbeResult]:
        """Probe every enabled provider at once, and keep what was found."""
        return await _of_each_enabled(self.health_check)

    async def health_check(self, name: str) -> ProbeResult:
        """Probe one provider at no cost in tokens, and keep what was found; several at once share one probe.

        Errors: ProviderConfig.DoesNotExist.
        """
        row = await _in_database(ProviderConfig.objects.get, name=name)
        return await self._calls.call(("health", name, row.updated_at), lambda: self._probe(row))

    async def _probe(self, row: ProviderConfig) -> ProbeResult:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                probe = await self._backend_of(row).health_check()
        except ProviderError as error:
            probe = ProbeResult(ok=False, latency_ms=0, error=error.message)
        except TimeoutError:
            words = f"No answer within {PROBE_TIMEOUT_S:.0f} seconds."
            probe = ProbeResult(ok=False, latency_ms=round(PROBE_TIMEOUT_S * 1000), error=words)
        await _in_database(row.record_probe, probe, now=timezone.now())
        return probe

    async def probe_and_refresh(self, name: str) -> None:
        """Probe one provider and ask for its models, and keep both; a failure is kept as its health.

        Errors: ProviderConfig.DoesNotExist.
        """
        probe = await self.health_check(name)
        if probe.ok:
            try:
                await self.refresh_models(name)
            except ProviderError as error:
                logger.warning("Provider %s: %s", name, error.message)

    async def refresh_all_models(self) -> dict[str, list[str]]:
        """Ask every enabled provider at once for its models; one that fails is logged and keeps what it last had."""
        return await _of_each_enabled(self.refresh_models)

    async def refresh_models(self, name: str) -> list[str]:
        """Ask one provider for its models, and keep them; several at once share one answer.

        Errors: ProviderError when it cannot tell (what it last had stays); ProviderConfig.DoesNotExist.
        """
        row = await _in_database(ProviderConfig.objects.get, name=name)
        return await self._calls.call(("models", name, row.updated_at), lambda: self._list_models(row))

    async def _list_models(self, row: ProviderConfig) -> list[str]:
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT_S):
                infos = await self._backend_of(row).list_models()
        except TimeoutError:
            raise ProviderTimeoutError(
                f"Provider `{row.name}` did not list its models within {REFRESH_TIMEOUT_S:.0f} seconds.",
                provider=row.name,
            ) from None
        return await _in_database(row.record_models, infos, now=timezone.now())

    def _backend_of(self, row: ProviderConfig) -> BaseProvider:
        with named_faults(row.name):
            return self._connections().get(entry_of(row))

    # BackendPool

    def _connections(self) -> BackendPool:
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._loops:
                self._loops[loop] = BackendPool()
            return self._loops[loop]

    async def close_all(self) -> None:
        """Close the connections of the running event loop."""
        with self._lock:
            connections = self._loops.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.close()


class AnswerStream:
    """The streamed answer of one candidate, which has begun; an error from now on breaks it."""

    def __init__(
        self, backend: BaseProvider, stream: ReplyStream, held: Sequence[Delta], stack: AsyncExitStack
    ) -> None:
        self.dropped_params = stream.dropped_params
        self._backend = backend
        self._stream = stream
        self._held = held
        self._stack = stack

    async def next(self) -> Sequence[Delta]:
        """Return what came next, those that came together; empty at the end.

        Errors: the ProviderError that broke the stream.
        """
        if self._held:
            held, self._held = self._held, ()
            return held
        return await self._backend.next_of(self._stream)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, at)


async def _until_content(backend: BaseProvider, stream: ReplyStream) -> Sequence[Delta]:
    """Return what comes up to the first content, or as much as counts as the beginning of an answer."""
    held: list[Delta] = []
    while deltas := await backend.next_of(stream):
        held += deltas
        if len(held) > MAX_HELD_DELTAS or any(is_content(delta) for delta in deltas):
            break
    return held


def is_content(delta: Delta) -> bool:
    """Whether a delta is a part of the answer itself, or of a call that comes whole."""
    if isinstance(delta, PartDelta):
        return bool(delta.text)
    if not isinstance(delta, PartStarted):
        return False
    return not isinstance(delta.value, TextPart | ReasoningPart | RefusalPart) or bool(delta.value.text)


class _Held:
    """What is held of the answer to one attempt, of which nothing is left when that fails."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._size_bytes = 0

    def take(self, size_bytes: int) -> None:
        self._charge(size_bytes)
        self._size_bytes += size_bytes

    def give_back(self) -> None:
        if self._size_bytes:
            self._charge(-self._size_bytes)


async def _of_each_enabled(work: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    """Do the same for every enabled provider at once; one that fails is logged and left out."""
    names = await _in_database(ProviderConfig.objects.filter(enabled=True).in_order().names)
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


@cache
def get_provider_manager() -> ProviderManager:
    """The manager of this process."""
    return ProviderManager()


async def _in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what uses the ORM; no connection is held afterwards, as what follows may take long."""

    def do() -> T:
        try:
            return function(*args, **kwargs)
        finally:
            release_connections()

    return await sync_to_async(do)()


_runs = threading.BoundedSemaphore(MAX_RUNS)
_shared_runs = SharedCalls()


def run(function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call one of the manager's coroutine methods from synchronous code.

    It runs on an event loop of its own, whose connections are closed afterwards: a view's thread would
    otherwise be lent the loop that serves chats. Meanwhile the thread holds no connection to the database, and a
    request no place among those at work.
    Errors: RateLimitedError when too many do so at once.
    """

    async def call_and_close() -> T:
        try:
            return await function(*args, **kwargs)
        finally:
            await get_provider_manager().close_all()

    if not _runs.acquire(blocking=False):
        raise RateLimitedError("Too many callers wait for providers: try again soon.", retry_after_s=1)
    try:
        leave_place()
        release_connections()
        return AsyncToSync(call_and_close, force_new_loop=True)()
    finally:
        _runs.release()


def check_all_now() -> dict[str, ProbeResult]:
    """Probe every enabled provider; all who ask while that is under way take its outcome."""
    leave_place()
    release_connections()
    return _shared_runs.call_blocking("health of all", lambda: run(get_provider_manager().health_check_all))
