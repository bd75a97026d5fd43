"""Share metrics between a web process and its bulk process; each exports both."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(role: str) -> TemporaryDirectory[str] | None:
    """Store metrics in a shared folder; return a web process's temporary one, to keep while the process lives.

    Call before any metric is created.
    """
    folder = None
    if role == "web" and not os.environ.get(VARIABLE):
        folder = TemporaryDirectory(prefix="llmhub-metrics-")
        os.environ[VARIABLE] = folder.name
    if role in ("web", "bulk"):
        from prometheus_client import values  # reads the variable at import

        # Neither process forks, and a system call for the process id per count costs more than counting.
        process_id = os.getpid()
        values.ValueClass = values.MultiProcessValue(lambda: process_id)  # type: ignore[no-untyped-call]  # untyped
    return folder
