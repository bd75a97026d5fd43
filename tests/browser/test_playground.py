"""The playground as somebody uses it, with a scripted provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests import fakes
from tests.browser.accessibility import check_accessible, get_overhang_px
from tests.browser.conftest import Visitor
from tests.browser.product import ADMIN, ANSWER, PASSWORD, Product
from tests.browser.walking import sign_in
from tests.fake_formats import Script
from tests.fakes import FakeProvider
from tests.live import until

HOSTILE = "<img src=x onerror=alert(1)> \u202egnp.exe <script>alert(1)</script>"
CURL = "Copy as curl"
ADD_KEY = """
from llmhub.access.models import ApiKey, Application
application, _ = Application.objects.get_or_create(name="playground-bot")
ApiKey.objects.issue(
    application, name="narrow", scopes=["chat"], allowed_providers=["acme", "ollama"], allowed_models=["fake-large"]
)
"""


@pytest.fixture
def upstream(product: Product) -> Iterator[FakeProvider]:
    """What `acme` leads to, as it was before once the test is over."""
    script = product.upstream.script
    product.upstream.requests.clear()
    product.upstream.hung_up.clear()
    yield product.upstream
    product.upstream.faults.clear()
    product.upstream.script = script


@pytest.fixture
def admin(visit: Callable[..., Visitor]) -> Visitor:
    visitor = visit(ADMIN)
    visitor.open("/admin/playground/?provider=acme")
    return visitor


@pytest.fixture
def page(admin: Visitor) -> Page:
    return admin.page


def send(page: Page, message: str) -> None:
    page.get_by_label("Message").fill(message)
    page.get_by_label("Message").press("Control+Enter")


def answers(page: Page) -> Locator:
    return page.locator("#playground-turns article")


def text_of(answer: Locator) -> Locator:
    return answer.locator("[aria-live]")


def recorded(product: Product, answer: Locator) -> Any:
    """Return the record of an answer's chat, once it is closed."""
    link = answer.get_by_role("link", name="Recorded chat").get_attribute("href")
    assert link
    assert answer.page.request.get(link).ok
    with product.up.client() as client:
        path = f"/api/audit/chats/{link.split('/')[-3]}"
        until(lambda: client.get(path).json()["status"] != "started")
        return client.get(path).json()


def test_a_conversation_streams_and_tells_how_it_went(page, product, upstream):
    send(page, "Who is there?")
    expect(text_of(answers(page).nth(0))).to_have_text(ANSWER)
    page.get_by_label("Model", exact=True).fill("fake-small")
    send(page, "And who else?")

    answer = answers(page).nth(1)
    expect(answer).to_contain_text("Tokens9 in, 5 out")
    first_ms, whole_ms = (
        int(re.search(rf"{words}([\d,]+) ms", answer.inner_text().replace("\n", ""))[1].replace(",", ""))
        for words in ("First token", "Latency")
    )
    assert first_ms <= whole_ms
    expect(answer).to_contain_text("Cost–")
    expect(answer.get_by_role("list", name="Attempts")).to_contain_text("acme/fake-small succeeded in")
    assert [message["content"] for message in upstream.chats[1].json["messages"]] == [
        "Who is there?",
        ANSWER,
        "And who else?",
    ]
    chat = recorded(product, answer)
    assert (chat["actor"], chat["application"], chat["status"]) == (ADMIN, None, "succeeded")


def test_system_prompt_and_parameters_are_sent_as_typed(page, upstream):
    page.get_by_text("System prompt and parameters").click()
    values = {
        "System prompt": "Be brief.",
        "Temperature": "0.25",
        "Top p": "0.9",
        "Max tokens": "7",
        "Stop sequences": "END\n##",
    }
    for label, value in values.items():
        page.get_by_label(label).fill(value)
    send(page, "Why?")

    expect(answers(page)).to_have_attribute("data-state", "answered")
    sent = upstream.chats[0].json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["stop"]) == (0.25, 0.9, 7, ["END", "##"])


def test_what_is_out_of_bounds_is_shown_though_it_was_folded_away(page, upstream):
    summary = page.get_by_text("System prompt and parameters")
    summary.click()
    page.get_by_label("Temperature").fill("9")
    summary.click()

    send(page, "Why?")

    expect(page.get_by_label("Temperature")).to_be_focused()
    expect(page.get_by_label("Message")).to_have_value("Why?")
    assert not upstream.chats


def test_a_stopped_answer_keeps_its_text_and_closes_the_upstream(page, product, upstream):
    upstream.fail(fakes.stall_after(2))
    send(page, "Tell me all.")
    expect(text_of(answers(page))).to_have_text("PostgreSQL")
    expect(text_of(answers(page))).to_have_attribute("aria-busy", "true")

    page.get_by_role("button", name="Stop").click()

    assert upstream.hung_up.wait(2)
    expect(answers(page)).to_contain_text("Stopped")
    expect(text_of(answers(page))).to_have_text("PostgreSQL")
    expect(page.get_by_label("Message")).to_be_focused()
    assert recorded(product, answers(page))["status"] == "client_disconnected"


def test_two_models_answer_side_by_side(page, product):
    page.get_by_label("Compare with a second model").check()
    page.get_by_label("Second provider").select_option("acme")
    page.get_by_label("Second model", exact=True).fill("fake-small")
    send(page, "Who is better?")

    expect(answers(page)).to_have_count(2)
    for answer, name in zip(
        (answers(page).nth(0), answers(page).nth(1)), ("acme/fake-large", "acme/fake-small"), strict=True
    ):
        expect(answer.get_by_role("heading")).to_have_text(name)
        expect(answer).to_contain_text("Tokens9 in, 5 out")
    boxes = [answers(page).nth(i).bounding_box() for i in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert recorded(product, answers(page).nth(0))["id"] != recorded(product, answers(page).nth(1))["id"]


def test_whatever_a_model_says_is_text(page, upstream):
    upstream.script = Script(text=HOSTILE)

    send(page, HOSTILE)

    expect(text_of(answers(page))).to_have_text(HOSTILE)
    expect(page.locator(".playground-said")).to_have_text(HOSTILE)
    expect(page.locator("#playground-turns img, #playground-turns script")).to_have_count(0)
    assert text_of(answers(page)).evaluate("each => getComputedStyle(each).unicodeBidi") == "isolate"


def test_a_failure_is_told_in_words_and_gives_the_message_back(page, admin, product, upstream):
    upstream.fail(fakes.status(401, "Incorrect key."))
    with admin.complaints.expecting(502):
        send(page, "Anyone?")
        expect(answers(page).get_by_role("alert")).to_contain_text("The provider refused the hub's key")

    expect(page.get_by_label("Message")).to_have_value("Anyone?")
    assert recorded(product, answers(page))["status"] == "failed"
    answers(page).get_by_role("button", name="Retry").click()
    expect(text_of(answers(page))).to_have_text(ANSWER)


def test_an_answer_that_breaks_off_is_told_from_a_whole_one(page, upstream):
    upstream.fail(fakes.cut_after(3))

    send(page, "Tell me all.")

    expect(answers(page).get_by_role("alert")).to_contain_text("The answer is incomplete")
    expect(text_of(answers(page))).to_have_text("PostgreSQL listens")
    expect(answers(page)).to_have_attribute("data-state", "failed")


def test_an_answer_cut_at_its_most_tokens_says_so(page, upstream):
    upstream.script = Script(finish_reason="length")

    send(page, "Tell me all.")

    expect(answers(page)).to_contain_text("The answer reached the token limit.")


def test_a_lost_connection_keeps_what_was_typed(page, admin):
    page.context.set_offline(True)
    send(page, "Anyone?")

    expect(answers(page).get_by_role("alert")).to_contain_text("Connection to the hub lost")
    expect(page.get_by_label("Message")).to_have_value("Anyone?")
    page.context.set_offline(False)
    admin.complaints.heard.clear()
    answers(page).get_by_role("button", name="Retry").click()
    expect(text_of(answers(page))).to_have_text(ANSWER)


def test_after_an_ended_session_the_chat_goes_on_once_one_has_signed_in_elsewhere(page, admin):
    page.context.clear_cookies()
    with admin.complaints.expecting(401):
        send(page, "Am I known?")
        alert = answers(page).get_by_role("alert")
        expect(alert).to_contain_text("You are signed out")
    assert str(alert.get_by_role("link").get_attribute("href")).endswith("?next=/admin/playground/")
    expect(page.get_by_label("Message")).to_have_value("Am I known?")

    with page.context.expect_page() as opened:
        alert.get_by_role("link").click()
    sign_in(opened.value, ADMIN, PASSWORD)
    answers(page).get_by_role("button", name="Retry").click()

    expect(text_of(answers(page))).to_have_text(ANSWER)


def test_as_an_application_the_plan_is_shown_and_kept_to(page, product):
    product.manage("shell", "--no-imports", "-v0", "-c", ADD_KEY)
    page.reload()
    key_id = page.get_by_label("Send as").locator("option", has_text="playground-bot").get_attribute("value")
    page.get_by_label("Send as").select_option(key_id)
    page.get_by_label("Provider", exact=True).select_option("")

    plan = page.get_by_role("status").filter(has_text="Routing:")
    expect(plan).to_contain_text("acme/fake-large")
    expect(plan).to_contain_text("ollama is not allowed to this API key")
    send(page, "Who answers?")
    expect(answers(page).get_by_role("heading")).to_have_text("acme/fake-large")
    assert recorded(product, answers(page))["actor"] == ADMIN


def test_a_chat_is_copied_as_it_was_asked(page):
    send(page, 'It\'s "me"')
    expect(answers(page)).to_have_attribute("data-state", "answered")

    answers(page).get_by_role("button", name=CURL).click()

    expect(answers(page).get_by_role("status")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.get_by_label("This chat as curl").input_value()
    assert 'It\'"\'"\'s \\"me\\"' in copied


def test_a_copy_that_the_browser_refuses_stands_there_to_be_taken(page):
    page.context.clear_permissions()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')) }")
    send(page, "Hi")
    expect(answers(page)).to_have_attribute("data-state", "answered")

    answers(page).get_by_role("button", name="Copy as Python").click()

    expect(answers(page).get_by_role("status")).to_contain_text("copy it from here")
    expect(page.get_by_label("This chat as Python")).to_be_focused()


def test_a_new_conversation_knows_nothing_of_the_last(page, upstream):
    send(page, "First.")
    expect(answers(page)).to_have_attribute("data-state", "answered")

    page.get_by_role("button", name="New conversation").click()
    send(page, "Second.")

    until(lambda: len(upstream.chats) == 2)
    assert [message["content"] for message in upstream.chats[1].json["messages"]] == ["Second."]


def test_the_page_is_accessible_and_fits_a_phone_in_every_state(page, admin, upstream):
    upstream.fail(fakes.status(500))
    page.get_by_label("Compare with a second model").check()
    page.get_by_text("System prompt and parameters").click()
    check_accessible(page)
    with admin.complaints.expecting(502, 503):
        send(page, "One answers, one fails.")
        expect(page.locator("article[data-state=failed]")).to_have_count(1)
        expect(page.locator("article[data-state=answered]")).to_have_count(1)
    page.get_by_role("button", name=CURL).first.click()
    expect(page.get_by_label("This chat as curl")).to_be_visible()

    check_accessible(page)
    assert get_overhang_px(page) <= 0
