"""A provider's latest latencies as a picture of one line's height."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from llmhub.adminkit.times import format_ms

WIDTH, HEIGHT, MARGIN = 90, 22, 3

Latencies = Sequence[int | None]
"""The oldest first; None for a check that failed."""


def sparkline(latencies: Latencies) -> SafeString:
    """Draw the latencies as a line, and each failed check as a bar from top to bottom."""
    if not latencies:
        return SafeString('<span class="pv-none">no checks yet</span>')
    top = max((value for value in latencies if value is not None), default=1) or 1
    step = (WIDTH - 2 * MARGIN) / max(len(latencies) - 1, 1)
    places = [MARGIN + step * number for number in range(len(latencies))]
    heights = [None if v is None else HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * v / top for v in latencies]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True) if y is not None)
    failures = ((f"{x:.1f}",) for x, y in zip(places, heights, strict=True) if y is None)
    return format_html(
        '<svg class="pv-sparkline" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">'
        '{}<polyline points="{}"/></svg> <span class="pv-latest">{}</span>',
        in_words(latencies),
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
        format_html_join("", f'<path class="pv-failure" d="M{{}} {MARGIN}V{HEIGHT - MARGIN}"/>', failures),
        points,
        "failed" if latencies[-1] is None else format_ms(latencies[-1]),
    )


def in_words(latencies: Latencies) -> str:
    good = [value for value in latencies if value is not None]
    failed = len(latencies) - len(good)
    checks = f"The last {len(latencies)} checks" if len(latencies) > 1 else "The last check"
    if not good:
        return f"{checks}: failed"
    span = f"{format_ms(min(good))} to {format_ms(max(good))}"
    return f"{checks}: {span}, {f'{failed} failed' if failed else 'none failed'}"
