"""What of an exchange goes into the ledger, the metrics and the spans."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from chat.gateway import metrics
from chat.gateway.exchange import Exchange
from chat.ledger.content import make_answer
from chat.ledger.entries import LedgerEntry
from chat.ledger.errors import LedgerUnavailableError, UnsureError
from chat.ledger.events import Intent, Outcome, Rejection
from chat.ledger.lanes import Ledger
from chat.ledger.models import ChatStatus
from providers.error_table import ServedError
from providers.pricing import nano_usd
from providers.types import ChatResponse

logger = logging.getLogger(__name__)


class Tracer(Protocol):
    """Is told of every chat once it has ended."""

    def trace(self, exchange: Exchange, outcome: Outcome, response: ChatResponse | None) -> None: ...

    def trace_rejected(self, exchange: Exchange, rejection: Rejection) -> None: ...

    def stop(self) -> None: ...


class Recorder:
    """Records the exchanges of one process. Belongs to its event loop."""

    def __init__(self, ledger: Ledger, *, tracer: Tracer | None = None) -> None:
        self.ledger = ledger
        self.tracer = tracer
        self._closing: set[asyncio.Task[None]] = set()

    async def finish(self) -> None:
        """Wait for the outcomes that are being recorded though nobody waits for them."""
        if self._closing:
            await asyncio.wait(self._closing)

    async def reject(self, exchange: Exchange, error: ServedError) -> None:
        """Record a chat that no provider will be asked for.

        Errors: LedgerUnavailableError.
        """
        rejection = rejection_of(exchange, error)
        await self._append(rejection.entry())
        metrics.observe_rejected(dialect=exchange.summary.dialect, http_status=error.status)
        if self.tracer is not None:
            self.tracer.trace_rejected(exchange, rejection)

    async def open(self, exchange: Exchange) -> None:
        """Record the intent; from here on the exchange must be closed.

        Errors: LedgerUnavailableError.
        """
        exchange.attempts.salt = exchange.content.salt
        intent = Intent(
            chat_id=exchange.chat_id, caller=exchange.caller, asked=exchange.summary, content=exchange.content
        )
        metrics.observe_begin(exchange.summary)
        try:
            await self._append(intent.entry())
        except LedgerUnavailableError as error:
            metrics.observe_unbegun(exchange.summary)
            if isinstance(error, UnsureError):
                self.ledger.append_when_up(_unbegun(exchange).entry())
            raise

    async def close(self, exchange: Exchange, status: ChatStatus, answer: Callable[[], bytes]) -> None:
        """Record the outcome; that of a large answer even if its caller is cancelled meanwhile.

        Shape: `answer` makes the JSON that is recorded as the answer.
        Errors: LedgerUnavailableError.
        """
        outcome = outcome_of(exchange, status)
        metrics.observe(outcome, exchange.summary)
        if logger.isEnabledFor(logging.DEBUG):
            _log(outcome)
        if self.tracer is not None:
            self.tracer.trace(exchange, outcome, exchange.response)
        recording = self._record_outcome(exchange, outcome, answer)
        if not exchange.large_bytes:
            await recording
            return
        closing = asyncio.create_task(recording)
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def _record_outcome(self, exchange: Exchange, outcome: Outcome, answer: Callable[[], bytes]) -> None:
        outcome.content = await exchange.handled(lambda: make_answer(answer(), outcome.attempts))
        await self._append(outcome.entry(), or_late=lambda: _unrecorded(outcome).entry())

    async def _append(self, entry: LedgerEntry, *, or_late: Callable[[], LedgerEntry] | None = None) -> None:
        try:
            await self.ledger.append(entry, or_late=or_late)
        except LedgerUnavailableError:
            metrics.UNRECORDED.labels(entry.kind).inc()
            raise


def rejection_of(exchange: Exchange, error: ServedError) -> Rejection:
    return Rejection(
        chat_id=exchange.chat_id,
        caller=exchange.caller,
        asked=exchange.summary,
        content=exchange.content,
        error_type=error.type,
        error_code=error.code,
        http_status=error.status,
    )


def outcome_of(exchange: Exchange, status: ChatStatus) -> Outcome:
    response, error = exchange.response, exchange.error
    choice = response.choices[0] if response and response.choices else None
    usage = response.usage if response and choice else None
    is_whole = status is ChatStatus.SUCCEEDED
    return Outcome(
        chat_id=exchange.chat_id,
        status=status,
        provider=exchange.attempts.provider,
        model_name=exchange.attempts.model_name,
        attempts=tuple(exchange.attempts.attempts),
        dropped_params=exchange.dropped_params,
        usage=usage,
        cost_nano_usd=nano_usd(exchange.attempts.cost_usd(usage)),
        finish_reason=choice.finish_reason if choice and is_whole else None,
        native_finish_reason=choice.native_finish_reason if choice and is_whole else None,
        error_type=error.type if error else None,
        error_code=error.code if error else None,
        http_status=error.status if error else 200 if is_whole else None,
        latency_ms=round(exchange.elapsed_s * 1000),
        first_token_ms=exchange.first_token_ms,
        overhead_us=round(exchange.overhead_s * 1_000_000),
    )


def _unbegun(exchange: Exchange) -> Outcome:
    """Return how a chat ended whose intent was perhaps stored too late: no provider was asked."""
    return Outcome(
        chat_id=exchange.chat_id,
        status=ChatStatus.REJECTED,
        error_type="server_error",
        error_code="record_unavailable",
        http_status=503,
    )


def _unrecorded(outcome: Outcome) -> Outcome:
    """Return how a chat ended whose outcome could not be recorded in time: nobody got the whole of its answer."""
    if outcome.status is not ChatStatus.SUCCEEDED:
        return outcome
    return replace(
        outcome,
        status=ChatStatus.FAILED,
        finish_reason=None,
        native_finish_reason=None,
        error_type="server_error",
        error_code="record_unavailable",
        http_status=503,
    )


def _log(outcome: Outcome) -> None:
    tries = ", ".join(f"{attempt.provider} {attempt.error_type or 'ok'}" for attempt in outcome.attempts)
    status, took_ms = outcome.status.value, outcome.latency_ms
    logger.debug("A chat ended: %s after %s ms; tried: %s.", status, took_ms, tries or "nobody")
