"""Options for the theme's Chart.js; a tooltip shows all series at once."""

from __future__ import annotations

import json
from typing import Any


def chart_options(*, axes: dict[str, Any], legend: dict[str, Any]) -> str:
    """Return the options of Chart.js as JSON. Shape: `axes` by name; `legend` as Chart.js defines it."""
    return json.dumps(
        {
            "animation": False,
            "responsive": True,
            "maintainAspectRatio": False,
            "interaction": {"mode": "index", "intersect": False},
            "plugins": {"legend": legend},
            "scales": axes,
        }
    )
