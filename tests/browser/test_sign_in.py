"""Signing in, by keyboard alone and with a second factor."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Page, expect

from tests.authenticator_app import code_at
from tests.browser.accessibility import check_accessible
from tests.browser.product import PASSWORD

NAME = "nora"


def type_and_send(page: Page, *words: str) -> None:
    """Type into the fields from the one that has the focus on."""
    for word in words[:-1]:
        page.keyboard.type(word)
        page.keyboard.press("Tab")
    page.keyboard.type(words[-1])
    with page.expect_navigation():
        page.keyboard.press("Enter")


def set_up(page: Page) -> tuple[str, list[str]]:
    """Return the app's key and the recovery codes."""
    page.get_by_role("link", name="Set up").click()
    expect(page.get_by_label("Password")).to_be_focused()
    type_and_send(page, PASSWORD)
    key = page.locator("code").inner_text()
    check_accessible(page)
    page.get_by_label("Authenticator code").fill(code_at(key, time.time()))
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_text("Two-factor authentication is enabled")).to_be_visible()
    return key, page.get_by_role("listitem").locator("code").all_inner_texts()


def test_a_wrong_password_is_said_and_the_focus_is_where_to_go_on(visit):
    page = visit().open("/admin/")

    type_and_send(page, "nobody", "wrong")

    expect(page.get_by_role("alert")).to_have_text("The username or the password is wrong.")
    expect(page.get_by_label("Username")).to_be_focused()
    expect(page.get_by_label("Username")).to_have_accessible_description("The username or the password is wrong.")
    check_accessible(page)


def test_a_second_factor_is_set_up_asked_for_and_switched_off(visit):
    page = visit().open("/admin/")
    type_and_send(page, NAME, PASSWORD)
    page.goto("/accounts/2fa/")
    _, recovery_codes = set_up(page)
    check_accessible(page)

    visitor = visit()
    other = visitor.open("/admin/")
    type_and_send(other, NAME, PASSWORD)
    expect(other.get_by_role("heading", name="Two-factor authentication")).to_be_visible()
    check_accessible(other)
    type_and_send(other, recovery_codes[0])

    expect(other).to_have_url(re.compile("/admin/$"))
    page.goto("/accounts/2fa/totp/deactivate/")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("Two-factor authentication is disabled.")).to_be_visible()


def test_the_user_menu_leads_to_the_second_factor_and_out(visit):
    page = visit().open("/admin/")
    type_and_send(page, NAME, PASSWORD)

    page.get_by_role("button", name=NAME).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Two-factor authentication")).to_be_visible()
    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    check_accessible(page)
