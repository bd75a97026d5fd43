"""Chromium as this machine has it, and nothing of its own that reaches for the network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from playwright.sync_api import Browser, BrowserContext, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_IT = f"None of {', '.join(NAMES)} is on the PATH: `apt-get install chromium` brings one."
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
TIMEOUT_MS = 15_000

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")


@dataclass(frozen=True)
class Screen:
    width: int
    height: int


LAPTOP = Screen(1400, 900)
PHONE = Screen(390, 844)


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Yield a browser. Until it is closed, its thread counts as running an event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def open_window(
    browser: Browser, base_url: str, *, screen: Screen = LAPTOP, theme: Theme = "light"
) -> Iterator[BrowserContext]:
    """Yield a context of its own: nobody is signed in, nothing moves, the clipboard can be read."""
    window = browser.new_context(
        base_url=base_url,
        viewport={"width": screen.width, "height": screen.height},
        color_scheme=theme,
        reduced_motion="reduce",
        permissions=["clipboard-read", "clipboard-write"],
    )
    window.set_default_timeout(TIMEOUT_MS)
    yield window
    window.close()
