"""What a browser complains about while somebody uses the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response, WebError

OF_THE_PAGE = ("data:", "blob:", "about:")
LOUD = ("error", "warning")
ABORTED = "net::ERR_ABORTED"
"""What a request ends with when its page is left."""


class Complaints:
    """Collects a window's console errors, uncaught exceptions, failed requests and requests to anybody else."""

    def __init__(self, window: BrowserContext, base_url: str) -> None:
        self.heard: list[str] = []
        self._base_url = base_url
        self._expected: frozenset[int] = frozenset()
        window.on("console", self._on_console)
        window.on("weberror", self._on_error)
        window.on("request", self._on_request)
        window.on("requestfailed", self._on_failure)
        window.on("response", self._on_response)

    @contextmanager
    def expecting(self, *statuses: int) -> Iterator[None]:
        """Take these answers for what was asked for."""
        self._expected = frozenset(statuses)
        try:
            yield
        finally:
            self._expected = frozenset()

    def _on_console(self, message: ConsoleMessage) -> None:
        is_expected = any(f"status of {status} " in message.text for status in self._expected)
        if message.type in LOUD and not is_expected:
            self.heard.append(f"console {message.type} on {message.location.get('url')}: {message.text}")

    def _on_error(self, error: WebError) -> None:
        self.heard.append(f"uncaught on {error.page.url if error.page else '?'}: {error.error}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self._base_url, *OF_THE_PAGE)):
            self.heard.append(f"request to somebody else: {request.url}")

    def _on_failure(self, request: Request) -> None:
        if request.failure != ABORTED:
            self.heard.append(f"{request.method} {request.url} failed: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._expected:
            self.heard.append(f"{response.request.method} {response.url}: {response.status}")
