"""Test a provider's connection step by step, with the code of live traffic, without saving anything."""

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

TEST_TIMEOUT_S = 15.0
FIND_DEFAULT_MODEL = "Find the default model"

# Explanations that precede the message of an error.
CAUSES: Mapping[type[ProviderError], str] = {
    CredentialRejectedError: "The key was rejected",
    QuotaExhaustedError: "The key is accepted, but the account is out of quota",
    RateLimitedError: "The key is accepted, but the provider limits requests at the moment",
    ModelNotServedError: "Not found: is the base URL right?",
    MalformedReplyError: "The address answers in another format: are type and base URL right?",
    ProviderTimeoutError: "Timed out",
}


class StepOutcome(StrEnum):
    GOOD = "good"
    FAILED = "failed"
    DOUBTFUL = "doubtful"
    NOT_TRIED = "not tried"

    @property
    def label(self) -> str:
        return {"good": "succeeded", "doubtful": "warning", "not tried": "skipped"}.get(self.value, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestStep:
    """One step of the test. Shape: `took_ms` is None for a step without waiting."""

    title: str
    outcome: StepOutcome
    message: str = ""
    took_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestResult:
    steps: tuple[ConnectionTestStep, ...]
    model_names: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return all(step.outcome in (StepOutcome.GOOD, StepOutcome.DOUBTFUL) for step in self.steps)

    @property
    def summary(self) -> str:
        """The verdict and the message of each failure."""
        causes = [f"{step.title}: {step.message}" for step in self.steps if step.outcome is StepOutcome.FAILED]
        return " ".join([self.verdict, *causes])

    @property
    def verdict(self) -> str:
        failed = [step.title for step in self.steps if step.outcome is StepOutcome.FAILED]
        if not failed:
            return "The connection works."
        if failed == [FIND_DEFAULT_MODEL]:
            return "The connection works, but the default model is missing."
        return "The connection does not work."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """The result of requesting the model list."""

    watch: ConnectionWatch
    started_s: float
    ended_s: float
    models: tuple[ModelInfo, ...] = ()
    error: ProviderError | None = None


async def run_connection_test(row: ProviderConfig) -> ConnectionTestResult:
    """Request the models of a provider, saved or not, and report each step. Writes nothing.

    Shape: `row` is validated; its key may be plaintext.
    """
    listing = await _list_models(row)
    names = tuple(sorted(model.name for model in listing.models))
    steps = (*_connection_steps(row, listing), _list_step(row, listing), _default_model_step(row, listing, names))
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
            async with asyncio.timeout(TEST_TIMEOUT_S):
                with named_faults(row.name or "new provider"):
                    models = await new_backend(entry_of(row), client).list_models()
        except ProviderError as exc:
            error = exc
        except TimeoutError:
            error = ProviderTimeoutError(f"no answer within {TEST_TIMEOUT_S:.0f} seconds")
    return _Listing(watch=watch, started_s=started_s, ended_s=time.monotonic(), models=tuple(models), error=error)


def _connection_steps(row: ProviderConfig, listing: _Listing) -> list[ConnectionTestStep]:
    """Return the steps up to the connection that were taken."""
    watch, url = listing.watch, urlsplit(row.effective_base_url)
    lookup, connection = "Look up the name", "Connect with TLS" if url.scheme == "https" else "Connect"
    if watch.started_s is None:  # refused before any request
        return [_failed("Prepare", listing, since_s=None), _skipped(connection)]
    steps = []
    if watch.lookup_started_s is not None:
        if watch.looked_up_s is None:
            return [_failed(lookup, listing, since_s=watch.lookup_started_s), _skipped(connection)]
        message = f"{url.hostname} resolves to a permitted address"
        steps.append(_succeeded(lookup, message, since_s=watch.lookup_started_s, until_s=watch.looked_up_s))
    since_s = watch.looked_up_s or watch.started_s
    if watch.connected_s is None:
        return [*steps, _failed(connection, listing, since_s=since_s)]
    return [*steps, _succeeded(connection, url.netloc, since_s=since_s, until_s=watch.connected_s)]


def _list_step(row: ProviderConfig, listing: _Listing) -> ConnectionTestStep:
    title = "List models, with the key" if row.api_key else "List models, without a key"
    if listing.watch.connected_s is None:
        return _skipped(title)
    if listing.error:
        return _failed(title, listing, since_s=listing.watch.connected_s)
    message = f"{'The key is accepted; ' if row.api_key else ''}{_count(len(listing.models))} listed"
    return _succeeded(title, message, since_s=listing.watch.connected_s, until_s=listing.ended_s)


def _default_model_step(row: ProviderConfig, listing: _Listing, names: tuple[str, ...]) -> ConnectionTestStep:
    title = FIND_DEFAULT_MODEL
    if listing.error:
        return _skipped(title)
    if not row.default_model:
        message = "No default model: chats without a model skip this provider"
        return ConnectionTestStep(title=title, outcome=StepOutcome.DOUBTFUL, message=message)
    if {row.default_model, f"{row.default_model}:latest"} & set(names):
        return ConnectionTestStep(title=title, outcome=StepOutcome.GOOD, message=f"{row.default_model} is listed")
    message = f"Model missing: {row.default_model} is not among the {_count(len(names))} listed"
    return ConnectionTestStep(title=title, outcome=StepOutcome.FAILED, message=message)


def _succeeded(title: str, message: str, *, since_s: float, until_s: float) -> ConnectionTestStep:
    return ConnectionTestStep(
        title=title, outcome=StepOutcome.GOOD, message=message, took_ms=round((until_s - since_s) * 1000)
    )


def _failed(title: str, listing: _Listing, *, since_s: float | None) -> ConnectionTestStep:
    took_ms = None if since_s is None else round((listing.ended_s - since_s) * 1000)
    return ConnectionTestStep(title=title, outcome=StepOutcome.FAILED, message=_cause(listing.error), took_ms=took_ms)


def _skipped(title: str) -> ConnectionTestStep:
    return ConnectionTestStep(title=title, outcome=StepOutcome.NOT_TRIED)


def _cause(error: ProviderError | None) -> str:
    """Describe a failure: its explanation, then the error's message."""
    if error is None:
        return ""
    kind = ModelNotServedError if error.upstream_status == 404 else type(error)
    cause = next((CAUSES[base] for base in kind.__mro__ if base in CAUSES), "")
    if not cause:
        return error.message
    return f"{cause} {error.message}" if cause.endswith("?") else f"{cause}: {error.message}"


def _count(models: int) -> str:
    return f"{models} model{pluralize(models)}"
