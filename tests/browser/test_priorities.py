"""What is typed into the list of providers is not lost, however the page is left."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.chromium import open_window
from tests.browser.product import ADMIN, PASSWORD, Product
from tests.browser.walking import go_to, sign_in


def test_a_priority_that_was_typed_outlives_the_switch_of_another_row(browser: Browser, product: Product) -> None:
    with open_window(browser, product.url) as window:
        page = window.new_page()
        sign_in(page, ADMIN, PASSWORD)
        go_to(page, "Providers")
        page.get_by_label("Priority of acme").fill("7")
        page.get_by_role("switch", name="ollama enabled").click()

        expect(page.get_by_text("1 disabled: ollama.")).to_be_visible()
        expect(page.get_by_label("Priority of acme")).to_have_value("7")
        page.reload()
        expect(page.get_by_label("Priority of acme")).to_have_value("7")

        page.get_by_label("Priority of acme").fill("100")
        page.get_by_label("Priority of acme").press("Tab")
        expect(page.get_by_role("status").get_by_text("saved", exact=True)).to_be_visible()
        page.get_by_role("switch", name="ollama enabled").click()
        expect(page.get_by_text("1 enabled: ollama.")).to_be_visible()
        expect(page.get_by_label("Priority of acme")).to_have_value("100")


def test_a_priority_that_is_refused_keeps_the_page(browser: Browser, product: Product) -> None:
    with open_window(browser, product.url) as window:
        page = window.new_page()
        sign_in(page, ADMIN, PASSWORD)
        go_to(page, "Providers")
        page.get_by_label("Priority of acme").fill("-1")
        page.get_by_role("switch", name="ollama enabled").click()

        expect(page.get_by_text("not saved: correct it")).to_be_visible()
        expect(page.get_by_label("Priority of acme")).to_have_value("-1")
        expect(page.get_by_role("switch", name="ollama enabled")).to_be_checked()
