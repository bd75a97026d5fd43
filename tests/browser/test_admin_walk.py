"""An admin's first hour with a new hub, from the sign-in to a key that no longer opens anything."""

from __future__ import annotations

import pytest
from openai import AuthenticationError, OpenAI
from playwright.sync_api import Page, expect

from tests.browser.accessibility import check_accessible
from tests.browser.product import ADMIN, ANSWER, KEY, PASSWORD
from tests.browser.walking import (
    add_application,
    add_key,
    fill_provider_form,
    find_chats,
    go_to,
    press_in_row,
    revoke_key,
    save,
    sign_in,
    try_connection,
)
from tests.live import until

QUESTION = "Which port does PostgreSQL listen on?"
NAME = "vllm"


@pytest.fixture(scope="module")
def product(new_product):
    return new_product


def test_an_admin_sets_up_a_provider_and_follows_a_chat_through_the_hub(visit, product):
    page = visit().page
    sign_in(page, ADMIN, PASSWORD)
    expect(page.get_by_role("heading", name="Three steps to the first chat")).to_be_visible()
    check_accessible(page)

    add_tested_provider(page, product.upstream.url)
    refresh_models_and_make_default(page)
    add_application(page, "billing")
    key = add_key(page, application="billing", name="nightly run")
    with OpenAI(base_url=f"{product.url}/v1", api_key=key, max_retries=0) as client:
        chat(client)
        read_the_transcript(page)
        revoke_key(page, "nightly run")
        until(lambda: is_refused(client), within_s=1)


def add_tested_provider(page: Page, base_url: str) -> None:
    go_to(page, "Providers")
    page.get_by_role("link", name="Add provider").click()
    fill_provider_form(page, name=NAME, base_url=base_url, api_key="sk-acme-4711-wrong")
    assert "does not work" in try_connection(page)
    check_accessible(page)
    page.get_by_label("API key").fill(KEY)
    assert "The connection works." in try_connection(page)
    check_accessible(page)
    save(page)
    expect(page.get_by_role("row").filter(has_text=NAME)).to_be_visible()


def refresh_models_and_make_default(page: Page) -> None:
    press_in_row(page, row=NAME, button="Refresh models")
    expect(page.get_by_text("1 refreshed, 2 models")).to_be_visible()
    press_in_row(page, row=NAME, button="Make default")
    expect(page.get_by_text(f"{NAME} is now the default.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text=NAME)).to_contain_text("default")


def chat(client: OpenAI) -> None:
    messages = [{"role": "user", "content": QUESTION}]
    answer = client.chat.completions.create(model=f"{NAME}/fake-large", messages=messages, user="ann")
    assert answer.choices[0].message.content == ANSWER


def read_the_transcript(page: Page) -> None:
    rows = find_chats(page, "ann")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("billing")
    rows.get_by_role("link").first.click()
    expect(page.get_by_text(QUESTION).first).to_be_visible()
    expect(page.get_by_text(ANSWER).first).to_be_visible()
    check_accessible(page)


def is_refused(client: OpenAI) -> bool:
    try:
        client.models.list()
    except AuthenticationError:
        return True
    return False
