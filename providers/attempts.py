"""What has been tried for one chat, and what it means when nothing of it worked."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

from llmhub.runtime.memory_budget import MemoryBudgetExceededError
from providers.errors import (
    ConfigurationError,
    InternalError,
    NoProviderError,
    ProviderError,
    RateLimitedError,
    UnreachableError,
    UnsupportedRequestError,
)
from providers.pricing import cost_usd
from providers.resolution.plan import Candidate
from providers.types import Attempt, SentBody, Usage


@dataclass(slots=True)
class AttemptLog:
    """What has been tried for one chat so far; the caller keeps it to know this even when cancelled.

    Shape: `salt` is that of the chat's request; without it, of the bodies sent only the sizes are noted.
    """

    salt: bytes = field(default=b"", repr=False)
    attempts: list[Attempt] = field(default_factory=list)
    candidate: Candidate | None = None
    """The one that answers, or was tried last."""
    trail: list[tuple[Candidate, float]] = field(default_factory=list)
    """Who was tried, from when on. Units: seconds of the monotonic clock."""
    past_upstream_s: float = 0.0
    attempt_began_s: float | None = None
    sent: list[SentBody] = field(default_factory=list)
    """The bodies that went to the provider being asked."""

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

    def note_sent(self, body: bytes) -> None:
        """Note the very bytes that are about to go to the provider."""
        commitment = hmac.new(self.salt, body, "sha256").hexdigest() if self.salt else None
        self.sent.append(SentBody(len(body), commitment))

    @contextmanager
    def attempt(self, candidate: Candidate) -> Iterator[None]:
        """Note one try, however it ends."""
        self.candidate = candidate
        self.sent.clear()
        self.attempt_began_s = time.monotonic()
        self.trail.append((candidate, self.attempt_began_s))
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            took_s = time.monotonic() - self.attempt_began_s
            self.past_upstream_s += took_s
            self.attempt_began_s = None
            self.attempts.append(_attempt_of(candidate, failure, took_s=took_s, sent=tuple(self.sent)))

    def cost_usd(self, usage: Usage | None) -> Decimal | None:
        return cost_usd(usage, self.candidate.price) if self.candidate else None


def _attempt_of(
    candidate: Candidate, failure: BaseException | None, *, took_s: float, sent: tuple[SentBody, ...]
) -> Attempt:
    attempt = Attempt(
        provider=candidate.provider.name,
        model_name=candidate.model_name,
        ok=failure is None,
        latency_ms=round(took_s * 1000),
        sent=sent,
    )
    if failure is None:
        return attempt
    if isinstance(failure, asyncio.CancelledError | GeneratorExit):
        return replace(
            attempt, error_type="Cancelled", error="The caller went away, the time was up, or the hub was stopped."
        )
    if isinstance(failure, MemoryBudgetExceededError):
        return replace(attempt, error_type=type(failure).__name__, error=str(failure))
    if not isinstance(failure, ProviderError):
        return replace(attempt, error_type=InternalError.__name__, error="The hub failed; see its log.")
    return replace(
        attempt,
        error_type=type(failure).__name__,
        error=failure.message,
        upstream_status=failure.upstream_status,
        upstream_request_id=failure.upstream_request_id,
        sent=sent[:-1] if _is_unsent(failure) else sent,
    )


def _is_unsent(failure: ProviderError) -> bool:
    """Whether the body noted last never left the hub."""
    return isinstance(failure, ConfigurationError | UnreachableError) and failure.upstream_status is None


def all_failed(failures: Sequence[ProviderError], journey: AttemptLog) -> ProviderError:
    """Return the error that stands for all attempts: the last when it decides alone, else one that lists them."""
    last = failures[-1]
    waits = [f.retry_after_s for f in failures if f.retry_after_s is not None]
    if len(failures) == 1 or not last.failover:
        error = last
    elif all(isinstance(failure, UnsupportedRequestError) for failure in failures):
        error = UnsupportedRequestError(_listed(journey), param=last.param)
    elif all(isinstance(failure, RateLimitedError) for failure in failures):
        error = RateLimitedError(_listed(journey), retry_after_s=min(waits, default=None))
    else:
        error = NoProviderError(_listed(journey), retry_after_s=min(waits, default=None))
    error.attempts = tuple(journey.attempts)
    return error


def _listed(journey: AttemptLog) -> str:
    tried = "; ".join(f"{attempt.provider}: {attempt.error}" for attempt in journey.attempts)
    return f"All {len(journey.attempts)} providers failed. {tried}"
