"""Trying a provider as it stands in a form: step by step, over the same code as live traffic, keeping nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from django.conf import settings
from django.template.defaultfilters import pluralize

from llmhub.access.secrets import Secret
from providers.backend_pool import new_backend
from providers.errors import (
    CredentialRejectedError,
    MalformedReplyError,
    ModelNotServedError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExhaustedError,
    RateLimitedError,
)
from providers.faults import named_faults
from providers.http import ConnectionWatch, HttpClient
from providers.hubs import own_mark
from providers.models import ProviderConfig
from providers.snapshot import entry_of
from providers.types import ModelInfo

TRIAL_TIMEOUT_S = 15.0
FIND_DEFAULT_MODEL = "Find the default model"

# What is said before the words of an error, which tell no more than what was seen.
CAUSES: Mapping[type[ProviderError], str] = {
    CredentialRejectedError: "The key was rejected",
    QuotaExhaustedError: "The key is accepted, but the account is out of quota",
    RateLimitedError: "The key is accepted, but the provider answers too many requests at the moment",
    ModelNotServedError: "Not found: is the base URL right?",
    MalformedReplyError: "The address answers, but not as this type does: is the type right, and the base URL?",
    ProviderTimeoutError: "Timed out",
}


class StepOutcome(StrEnum):
    GOOD = "good"
    FAILED = "failed"
    DOUBTFUL = "doubtful"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestStep:
    """One thing that was tried. Units: `took_ms` None where nothing was waited for."""

    title: str
    outcome: StepOutcome
    words: str = ""
    took_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestResult:
    steps: tuple[ConnectionTestStep, ...]
    model_names: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return all(step.outcome in (StepOutcome.GOOD, StepOutcome.DOUBTFUL) for step in self.steps)

    @property
    def words(self) -> str:
        """The verdict, and what was seen of each failure."""
        causes = [f"{step.title}: {step.words}" for step in self.steps if step.outcome is StepOutcome.FAILED]
        return " ".join([self.verdict, *causes])

    @property
    def verdict(self) -> str:
        failed = [step.title for step in self.steps if step.outcome is StepOutcome.FAILED]
        if not failed:
            return "The connection works."
        if failed == [FIND_DEFAULT_MODEL]:
            return "The connection works, but the default model is missing."
        return "The connection does not work as it stands."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """What asking for the models came to."""

    watch: ConnectionWatch
    started_s: float
    ended_s: float
    models: tuple[ModelInfo, ...] = ()
    error: ProviderError | None = None


async def run_connection_test(row: ProviderConfig) -> ConnectionTestResult:
    """Ask a provider, saved or not, for its models, and tell how far that came. Writes nothing.

    Shape: `row` as validated; its key may be in clear.
    """
    listing = await _list_models(row)
    names = tuple(sorted(model.name for model in listing.models))
    steps = (*_way_there(row, listing), _answer(row, listing), _default_model(row, listing, names))
    return ConnectionTestResult(steps=steps, model_names=names)


async def _list_models(row: ProviderConfig) -> _Listing:
    watch = ConnectionWatch()
    started_s = time.monotonic()
    models: list[ModelInfo] = []
    error: ProviderError | None = None
    if isinstance(row.api_key, str) and row.api_key:
        row.api_key = Secret.seal(row.api_key, place=row.key_place)
    hosts = tuple(settings.ALLOWED_PRIVATE_HOSTS)
    async with HttpClient(allowed_private_hosts=hosts, mark=own_mark(), watch=watch) as client:
        try:
            async with asyncio.timeout(TRIAL_TIMEOUT_S):
                with named_faults(row.name or "on trial"):
                    models = await new_backend(entry_of(row), client).list_models()
        except ProviderError as exc:
            error = exc
        except TimeoutError:
            error = ProviderTimeoutError(f"no answer within {TRIAL_TIMEOUT_S:.0f} seconds")
    return _Listing(watch=watch, started_s=started_s, ended_s=time.monotonic(), models=tuple(models), error=error)


def _way_there(row: ProviderConfig, listing: _Listing) -> list[ConnectionTestStep]:
    """The steps up to the connection, as many as were needed."""
    watch, url = listing.watch, urlsplit(row.effective_base_url)
    lookup, connection = "Look up the name", "Connect with TLS" if url.scheme == "https" else "Connect"
    if watch.started_s is None:  # refused before anything was sent
        return [_failed("Prepare", listing, since_s=None), _not_tried(connection)]
    steps = []
    if watch.lookup_started_s is not None:
        if watch.looked_up_s is None:
            return [_failed(lookup, listing, since_s=watch.lookup_started_s), _not_tried(connection)]
        words = f"{url.hostname} has an address that may be reached"
        steps.append(_good(lookup, words, since_s=watch.lookup_started_s, until_s=watch.looked_up_s))
    since_s = watch.looked_up_s or watch.started_s
    if watch.connected_s is None:
        return [*steps, _failed(connection, listing, since_s=since_s)]
    return [*steps, _good(connection, url.netloc, since_s=since_s, until_s=watch.connected_s)]


def _answer(row: ProviderConfig, listing: _Listing) -> ConnectionTestStep:
    title = "Ask for the models, with the key" if row.api_key else "Ask for the models, without a key"
    if listing.watch.connected_s is None:
        return _not_tried(title)
    if listing.error:
        return _failed(title, listing, since_s=listing.watch.connected_s)
    words = f"{'The key is accepted; ' if row.api_key else ''}{_count(len(listing.models))} listed"
    return _good(title, words, since_s=listing.watch.connected_s, until_s=listing.ended_s)


def _default_model(row: ProviderConfig, listing: _Listing, names: tuple[str, ...]) -> ConnectionTestStep:
    title = FIND_DEFAULT_MODEL
    if listing.error:
        return _not_tried(title)
    if not row.default_model:
        words = "None is given: chats that name no model pass this provider over"
        return ConnectionTestStep(title=title, outcome=StepOutcome.DOUBTFUL, words=words)
    if {row.default_model, f"{row.default_model}:latest"} & set(names):
        return ConnectionTestStep(title=title, outcome=StepOutcome.GOOD, words=f"{row.default_model} is listed")
    words = f"Model missing: {row.default_model} is not among the {_count(len(names))} listed"
    return ConnectionTestStep(title=title, outcome=StepOutcome.FAILED, words=words)


def _good(title: str, words: str, *, since_s: float, until_s: float) -> ConnectionTestStep:
    return ConnectionTestStep(
        title=title, outcome=StepOutcome.GOOD, words=words, took_ms=round((until_s - since_s) * 1000)
    )


def _failed(title: str, listing: _Listing, *, since_s: float | None) -> ConnectionTestStep:
    took_ms = None if since_s is None else round((listing.ended_s - since_s) * 1000)
    return ConnectionTestStep(title=title, outcome=StepOutcome.FAILED, words=_cause(listing.error), took_ms=took_ms)


def _not_tried(title: str) -> ConnectionTestStep:
    return ConnectionTestStep(title=title, outcome=StepOutcome.NOT_TRIED)


def _cause(error: ProviderError | None) -> str:
    """Say what went wrong: the kind of failure, then what was seen of it."""
    if error is None:
        return ""
    kind = ModelNotServedError if error.upstream_status == 404 else type(error)
    cause = next((CAUSES[base] for base in kind.__mro__ if base in CAUSES), "")
    if not cause:
        return error.message
    return f"{cause} {error.message}" if cause.endswith("?") else f"{cause}: {error.message}"


def _count(models: int) -> str:
    return f"{models} model{pluralize(models)}"
