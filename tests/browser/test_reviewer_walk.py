"""A reviewer's way from the sign-in through the history of chats."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.accessibility import check_accessible
from tests.browser.product import ADMIN, ANSWER, CONVERSATION, PASSWORD
from tests.browser.walking import field, find_chats, go_to, save, sign_in


def test_an_admin_lets_a_reviewer_in_who_reads_chats_and_changes_nothing(visit, product):
    add_reviewer(visit(ADMIN).open("/admin/"), "rosa")
    page = visit().page
    sign_in(page, "rosa", PASSWORD)

    rows = find_chats(page, "ports")

    expect(rows).to_have_count(len(CONVERSATION))
    rows.last.get_by_role("link").first.click()
    read(page, CONVERSATION[0])
    page.get_by_role("link", name="Later in conversation").click()
    read(page, CONVERSATION[1])
    page.get_by_role("link", name="Newer chat").click()
    read(page, CONVERSATION[2])
    page.get_by_role("link", name="Older chat").click()
    read(page, CONVERSATION[1])


def add_reviewer(page: Page, username: str) -> None:
    go_to(page, "Users")
    page.get_by_role("link", name="Add user").click()
    field(page, "Username").fill(username)
    field(page, "Password").first.fill(PASSWORD)
    field(page, "Password confirmation").fill(PASSWORD)
    save(page)
    field(page, "Staff status").check()
    page.get_by_role("checkbox", name="Reviewer").check()
    save(page)
    expect(page.get_by_role("row").filter(has_text=username)).to_be_visible()


def read(page: Page, question: str) -> None:
    expect(page.get_by_text(question).first).to_be_visible()
    expect(page.get_by_text(ANSWER).first).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_role("link", name="Delete")).to_have_count(0)
    check_accessible(page)
