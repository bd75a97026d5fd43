"""What people do in the admin, in its own words, each step up to what it shows them."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label(re.compile("^Password")).fill(password)
    page.get_by_role("button", name=re.compile("^(log|sign) in", re.IGNORECASE)).click()
    expect(page).to_have_url(re.compile("/admin/$"))


def go_to(page: Page, title: str) -> None:
    """Follow a link of the navigation."""
    page.locator("#nav-sidebar").get_by_role("link", name=title, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(title)


def fill_provider_form(page: Page, *, name: str, base_url: str, api_key: str) -> None:
    page.get_by_label(re.compile("^Name")).fill(name)
    page.get_by_label(re.compile("^Provider type")).select_option("custom")
    page.get_by_label(re.compile("^Base URL", re.IGNORECASE)).fill(base_url)
    page.get_by_label(re.compile("^API key")).fill(api_key)
    page.get_by_label(re.compile("^Default model")).fill("fake-large")


def try_connection(page: Page) -> str:
    """Press the button, and return what the page says once it knows."""
    page.get_by_role("button", name="Test connection").click()
    result = page.locator("#trial-result")
    expect(result).to_be_visible()
    return result.inner_text()


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("successfully")).to_be_visible()


def add_application(page: Page, name: str) -> None:
    go_to(page, "Applications")
    page.get_by_role("link", name="Add application").click()
    page.get_by_label(re.compile("^Name")).fill(name)
    save(page)


def add_key(page: Page, *, application: str, name: str) -> str:
    """Make a key that may chat, and return it as the copy button copies it."""
    go_to(page, "API keys")
    page.get_by_role("link", name="Add API key").click()
    page.get_by_role("combobox", name="Application").click()
    page.get_by_role("searchbox", name="Application").fill(application)
    page.get_by_role("option", name=application).click()
    page.get_by_label(re.compile("^Name")).fill(name)
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name=re.compile("^Copy")).first.click()
    copied: str = page.evaluate("navigator.clipboard.readText()")
    return copied


def find_chats(page: Page, words: str) -> None:
    go_to(page, "Chats")
    page.get_by_role("searchbox").fill(words)
    page.get_by_role("searchbox").press("Enter")


def ask_in_playground(page: Page, question: str, *, provider: str, model_name: str) -> None:
    """Ask, and wait until the whole answer stands there."""
    page.get_by_label(re.compile("^Provider")).first.select_option(provider)
    page.get_by_label(re.compile("^Model")).first.fill(model_name)
    page.get_by_label(re.compile("^Message")).fill(question)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
