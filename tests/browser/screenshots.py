"""Pictures of the running product.

`python -m tests.browser.screenshots` makes those of the README and docs anew; with a folder named, it takes every page
instead, in both themes, on a laptop and on a phone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page

from llmhub.embedded.options import ROOT
from tests.browser.chromium import (
    HOW_TO_GET_IT,
    LAPTOP,
    PHONE,
    THEMES,
    Screen,
    find_chromium,
    open_chromium,
    open_window,
)
from tests.browser.product import ADMIN, PASSWORD, Product, furnish, running_product
from tests.browser.surfing import kind_of, surf
from tests.browser.walking import ask_in_playground, find_chats, go_to, sign_in, try_connection

IMAGES = ROOT / "docs" / "images"
PICTURE = Screen(1400, 740)
MAX_BYTES = 150_000
MAX_HEIGHT = 6000
CHARTS_STAND = "() => !window.Chart || Object.values(Chart.instances).every(chart => !Chart.animator.running(chart))"


def fill(product: Product) -> None:
    """Give it two weeks of made-up chats, and a few real ones."""
    product.manage("seed", "--chats", "2000")
    furnish(product)


def show_overview(page: Page) -> None:
    page.goto("/admin/")


def show_provider(page: Page) -> None:
    go_to(page, "Providers")
    page.get_by_role("link", name="acme").first.click()
    try_connection(page)
    page.locator("#trial-result").scroll_into_view_if_needed()


def show_chat(page: Page) -> None:
    find_chats(page, "ports")
    page.locator("#result_list tbody a").first.click()


def show_playground(page: Page) -> None:
    go_to(page, "Playground")
    ask_in_playground(page, "Which port does PostgreSQL listen on?", provider="acme", model_name="fake-large")


PICTURES: dict[str, Callable[[Page], None]] = {
    "overview": show_overview,
    "provider": show_provider,
    "chat": show_chat,
    "playground": show_playground,
}


def take_pictures(browser: Browser, product: Product) -> None:
    with open_window(browser, product.url, screen=PICTURE) as window:
        page = window.new_page()
        sign_in(page, ADMIN, PASSWORD)
        for name, show in PICTURES.items():
            show(page)
            take(page, IMAGES / f"{name}.png")


def take_every_page(browser: Browser, product: Product, folder: Path) -> None:
    paths = list_paths(browser, product)
    for screen in (LAPTOP, PHONE):
        for theme in THEMES:
            with open_window(browser, product.url, screen=screen, theme=theme) as window:
                page, suffix = window.new_page(), f"{screen.width}-{theme}.png"
                page.goto("/admin/")
                take(page, folder / f"sign-in-{suffix}", is_whole=True)
                sign_in(page, ADMIN, PASSWORD)
                for path in paths:
                    page.set_viewport_size({"width": screen.width, "height": screen.height})
                    page.goto(path)
                    take(page, folder / f"{slug_of(path)}-{suffix}", is_whole=True)


def list_paths(browser: Browser, product: Product) -> list[str]:
    with open_window(browser, product.url) as window:
        page = window.new_page()
        sign_in(page, ADMIN, PASSWORD)
        return [path for path, status in surf(page) if status == 200]


def slug_of(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", kind_of(path).lower()).strip("-")


def take(page: Page, file: Path, *, is_whole: bool = False) -> None:
    page.wait_for_function(CHARTS_STAND)
    if is_whole:
        grow(page)
    page.screenshot(path=file, animations="disabled", caret="hide")
    print(f"{file} {file.stat().st_size // 1000} kB")
    if not is_whole and file.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{file} is larger than a README should make its readers load.")


def grow(page: Page) -> None:
    """Make the window as high as its page: what is fixed to the window's edges stands at the page's."""
    size = page.viewport_size
    assert size
    height = min(page.evaluate("document.scrollingElement.scrollHeight"), MAX_HEIGHT)
    page.set_viewport_size({"width": size["width"], "height": max(height, size["height"])})


def main(arguments: list[str]) -> None:
    if not find_chromium():
        raise SystemExit(HOW_TO_GET_IT)
    with running_product() as product, open_chromium() as browser:
        fill(product)
        if arguments:
            folder = Path(arguments[0])
            folder.mkdir(parents=True, exist_ok=True)
            take_every_page(browser, product, folder)
        else:
            take_pictures(browser, product)


if __name__ == "__main__":
    main(sys.argv[1:])
