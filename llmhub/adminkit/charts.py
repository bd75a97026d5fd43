"""Charts for the theme's Chart.js, in which a pointer reads all lines at once."""

from __future__ import annotations

import json
from typing import Any


def chart_options(*, axes: dict[str, Any], legend: dict[str, Any]) -> str:
    """Return Chart.js's options as JSON. Shape: `axes` by their names; `legend` as Chart.js takes it."""
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
