"""A provider's latest latencies as an inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from llmhub.adminkit.times import format_ms

WIDTH, HEIGHT, MARGIN = 90, 22, 3

Latencies = Sequence[int | None]
"""Oldest first; None for a failed check."""


def sparkline(latencies: Latencies) -> SafeString:
    """Draw the latencies as a line, and each failed check as a vertical bar."""
    if not latencies:
        return SafeString('<span class="pv-none">–</span>')
    top = max((value for value in latencies if value is not None), default=1) or 1
    step = (WIDTH - 2 * MARGIN) / max(len(latencies) - 1, 1)
    xs = [MARGIN + step * number for number in range(len(latencies))]
    ys = [None if v is None else HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * v / top for v in latencies]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True) if y is not None)
    failures = ((f"{x:.1f}",) for x, y in zip(xs, ys, strict=True) if y is None)
    return format_html(
        '<svg class="pv-sparkline" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '{}<polyline points="{}"/></svg> <span class="pv-latest">{}</span>',
        describe_latencies(latencies),
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
        format_html_join("", f'<path class="pv-failure" d="M{{}} {MARGIN}V{HEIGHT - MARGIN}"/>', failures),
        points,
        "failed" if latencies[-1] is None else format_ms(latencies[-1]),
    )


def describe_latencies(latencies: Latencies) -> str:
    succeeded = [value for value in latencies if value is not None]
    failed = len(latencies) - len(succeeded)
    checks = f"The last {len(latencies)} checks" if len(latencies) > 1 else "The last check"
    if not succeeded:
        return f"{checks}: failed"
    span = f"{format_ms(min(succeeded))} to {format_ms(max(succeeded))}"
    return f"{checks}: {span}, {f'{failed} failed' if failed else 'none failed'}"
