"""The options of uvicorn, in web and bulk processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

DRAIN_TIMEOUT_S = 30

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "loop": "uvloop",
        "http": "llmhub.http.server:BoundedHttpProtocol",
        "ws": "none",
        "lifespan": "on",
        "log_config": "llmhub/http/uvicorn_log.json",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": DRAIN_TIMEOUT_S,
    }
)
"""By the names of `uvicorn.Config`."""


def as_arguments() -> Iterator[str]:
    """Yield the options as arguments of the uvicorn command."""
    for name, value in OPTIONS.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{option}" if value else f"--no-{option}"
        else:
            yield from (f"--{option}", str(value))
