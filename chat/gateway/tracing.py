"""Spans of chats for an OpenTelemetry collector: only where one is named and the packages are installed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chat.gateway.spans import SpanTracer

logger = logging.getLogger(__name__)


def find_tracer(endpoint: str) -> SpanTracer | None:
    """Return what sends spans to the collector that the variables OTEL_* name; None without one."""
    if not endpoint:
        return None
    try:
        from chat.gateway.spans import exporting_tracer
    except ImportError:
        logger.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed, so no spans are sent: "
            "`pip install --no-deps --require-hashes -r requirements-otel.lock`, and start again."
        )
        return None
    return exporting_tracer()
