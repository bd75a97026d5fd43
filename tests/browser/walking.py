"""What people do in the admin, in its own words, each step up to what it shows them."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label(re.compile(r"^\s*Password")).fill(password)
    page.get_by_role("button", name=re.compile("^(log|sign) in", re.IGNORECASE)).click()
    expect(page).to_have_url(re.compile("/admin/$"))


def go_to(page: Page, title: str) -> None:
    """Follow a link of the navigation."""
    page.locator("#nav-sidebar").get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(title)


def field(page: Page, label: str) -> Locator:
    return page.get_by_label(re.compile(rf"^\s*{label}\W*$", re.IGNORECASE))


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def fill_provider_form(page: Page, *, name: str, base_url: str, api_key: str) -> None:
    field(page, "Name").fill(name)
    field(page, "Type").select_option("custom")
    field(page, "Base URL").fill(base_url)
    field(page, "API key").fill(api_key)
    field(page, "Default model").fill("fake-large")


def try_connection(page: Page) -> str:
    """Press the button, and return what the page says once it knows."""
    with page.expect_response(re.compile("/try/$")):
        page.get_by_role("button", name="Test connection").click()
    result = page.locator("#trial-result")
    expect(result).to_be_visible()
    return result.inner_text()


def press_in_row(page: Page, *, row: str, button: str) -> None:
    """Press a button in a row of a list, and wait for the page that answers."""
    with page.expect_navigation():
        page.get_by_role("button", name=f"{button}: {row}").click()


def add_application(page: Page, name: str) -> None:
    go_to(page, "Applications")
    page.get_by_role("link", name="Add application").click()
    field(page, "Name").fill(name)
    save(page)
    expect(page.get_by_role("link", name=name, exact=True).first).to_be_visible()


def add_key(page: Page, *, application: str, name: str) -> str:
    """Make a key from its application's page, and return it as the copy button copies it."""
    go_to(page, "Applications")
    page.get_by_role("link", name=application, exact=True).first.click()
    page.get_by_role("link", name="Add key").first.click()
    field(page, "Name").fill(name)
    save(page)
    page.get_by_role("button", name="Copy: API key").click()
    copied: str = page.evaluate("navigator.clipboard.readText()")
    return copied


def revoke_key(page: Page, name: str) -> None:
    go_to(page, "API keys")
    page.get_by_role("link", name=name, exact=True).first.click()
    page.get_by_role("link", name="Revoke").or_(page.get_by_role("button", name="Revoke")).first.click()
    page.get_by_role("button", name="Revoke 1 key").click()
    expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("revoked")


def find_chats(page: Page, words: str) -> Locator:
    """Search the history, and return the rows found."""
    go_to(page, "Chats")
    page.locator("#searchbar").fill(words)
    with page.expect_navigation():
        page.locator("#searchbar").press("Enter")
    return page.locator("#result_list tbody tr")


def ask_in_playground(page: Page, question: str, *, provider: str, model_name: str) -> None:
    """Ask, and wait until the whole answer stands there."""
    field(page, "Provider").first.select_option(provider)
    field(page, "Model").first.fill(model_name)
    field(page, "Message").fill(question)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
