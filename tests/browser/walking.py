"""What people do in the admin, in its own words."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect


def sign_in(page: Page, username: str, password: str) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").first.fill(password)
    page.get_by_role("button", name=re.compile("^(log|sign) in", re.IGNORECASE)).click()
    expect(page).to_have_url(re.compile("/admin/$"))
