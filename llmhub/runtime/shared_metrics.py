"""The metrics of a web process and the bulk process beside it, of which each answers for both."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(role: str) -> TemporaryDirectory[str] | None:
    """Keep what is counted in a folder; return that of a web process to which none was given, to be kept as long.

    To be called before any metric is made.
    """
    folder = None
    if role == "web" and not os.environ.get(VARIABLE):
        folder = TemporaryDirectory(prefix="llmhub-metrics-")
        os.environ[VARIABLE] = folder.name
    if role in ("web", "bulk"):
        from prometheus_client import values  # looks for the folder when it is imported

        # Neither forks, and to ask the system for the process's id at each count costs more than to count.
        process_id = os.getpid()
        values.ValueClass = values.MultiProcessValue(lambda: process_id)  # type: ignore[no-untyped-call]  # untyped
    return folder
