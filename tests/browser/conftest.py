from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState

from tests.browser.chromium import HOW_TO_GET_IT, find_chromium, open_chromium, open_window
from tests.browser.complaints import Complaints
from tests.browser.product import PASSWORD, Product, furnish, running_product
from tests.browser.walking import sign_in


@dataclass(frozen=True)
class Visitor:
    """Somebody with a window of their own."""

    page: Page
    complaints: Complaints

    def open(self, path: str) -> Page:
        answer = self.page.goto(path)
        assert answer
        assert answer.ok, f"{path}: {answer.status}"
        return self.page

    def is_refused(self, path: str) -> bool:
        with self.complaints.expecting(403):
            answer = self.page.goto(path)
        assert answer
        return answer.status == 403


@dataclass(frozen=True)
class Door:
    """Lets people in; each signs in once, and is known from then on."""

    browser: Browser
    product: Product
    known: dict[str, StorageState] = field(default_factory=dict)
    windows: ExitStack = field(default_factory=ExitStack)
    complaints: list[Complaints] = field(default_factory=list)

    def open(self, username: str = "", **options: Any) -> Visitor:
        window = self.windows.enter_context(open_window(self.browser, self.product.url, **options))
        visitor = Visitor(window.new_page(), Complaints(window, self.product.url))
        self.complaints.append(visitor.complaints)
        if username in self.known:
            window.add_cookies(self.known[username]["cookies"])  # type: ignore[arg-type]  # what was taken from one
        elif username:
            sign_in(visitor.page, username, PASSWORD)
            self.known[username] = window.storage_state()
        return visitor


@pytest.fixture(scope="session")
def chromium(servers: None) -> str:
    return find_chromium() or pytest.skip(HOW_TO_GET_IT)


@pytest.fixture(scope="module")
def new_product(chromium: str) -> Iterator[Product]:
    """A hub that nobody has used yet."""
    with running_product() as product:
        yield product


@pytest.fixture(scope="session")
def furnished_product(chromium: str) -> Iterator[Product]:
    with running_product() as product:
        furnish(product)
        yield product


@pytest.fixture(scope="module")
def product(furnished_product: Product) -> Product:
    """A hub with a provider, people of each group and a few chats; what others did there may be seen as well."""
    return furnished_product


@pytest.fixture(scope="module")
def browser(product: Product) -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def sessions() -> dict[str, StorageState]:
    return {}


@pytest.fixture
def visit(browser: Browser, product: Product, sessions: dict[str, StorageState]) -> Iterator[Callable[..., Visitor]]:
    """Let somebody in, by name; what their browser complains about fails the test."""
    with ExitStack() as windows:
        door = Door(browser, product, sessions, windows)
        yield door.open
    assert [complaint for each in door.complaints for complaint in each.heard] == []
