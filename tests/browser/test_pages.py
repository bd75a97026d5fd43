"""Every page that people of each group reach: in both themes, on a phone, and what is closed to them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.accessibility import check_accessible, get_overhang_px, list_violations
from tests.browser.chromium import PHONE, open_window
from tests.browser.complaints import Complaints
from tests.browser.product import ADMIN, GROUPS, PASSWORD, Product
from tests.browser.surfing import kind_of, surf
from tests.browser.walking import sign_in

WAYS_TO_CHANGE = ("/add/", "/change/", "/delete/")


@dataclass
class Survey:
    """What was found on each kind of page, by the path of the first one seen."""

    statuses: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    overhangs_px: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    @property
    def kinds(self) -> set[str]:
        return set(map(kind_of, self.statuses))

    def probe_and_refresh(self, path: str, page: Page) -> None:
        self.violations += [f"{path} {violation}" for violation in list_violations(page)]
        self.overhangs_px[path] = get_overhang_px(page)


def survey_as(username: str, browser: Browser, product: Product, *, is_thorough: bool = False) -> Survey:
    survey = Survey()
    with open_window(browser, product.url) as window:
        page, complaints = window.new_page(), Complaints(window, product.url)
        sign_in(page, username, PASSWORD)
        for path, status in surf(page):
            survey.statuses[path] = status
            if is_thorough:
                survey.probe_and_refresh(path, page)
        survey.complaints = complaints.heard
    return survey


@pytest.fixture(scope="module")
def of_admin(browser, product) -> Survey:
    return survey_as(ADMIN, browser, product, is_thorough=True)


@pytest.fixture(scope="module", params=GROUPS, ids=lambda name: GROUPS[name] or "staff without a group")
def member(request, browser, product) -> tuple[str, Survey]:
    return request.param, survey_as(request.param, browser, product)


def test_every_link_of_an_admin_leads_to_a_page(of_admin):
    assert len(of_admin.statuses) > 40
    assert {path: status for path, status in of_admin.statuses.items() if status != 200} == {}


def test_every_page_is_accessible_in_both_themes(of_admin):
    assert not of_admin.violations, "\n".join(of_admin.violations)


def test_every_page_fits_a_phone(of_admin):
    assert {path: px for path, px in of_admin.overhangs_px.items() if px > 0} == {}


def test_no_page_makes_the_browser_complain(of_admin):
    assert of_admin.complaints == []


def test_who_is_shown_a_link_may_follow_it(member):
    _, survey = member

    assert {path: status for path, status in survey.statuses.items() if status != 200} == {}
    assert survey.complaints == []


def test_what_is_shown_to_admins_alone_is_closed_to_others(of_admin, member, visit):
    username, survey = member
    closed = [path for path in of_admin.statuses if kind_of(path) not in survey.kinds and path.startswith("/admin/")]
    page = visit(username).page

    statuses = {path: page.request.get(path, max_redirects=0).status for path in closed}

    assert len(closed) > 10
    assert {path: status for path, status in statuses.items() if status not in (403, 404)} == {}


def test_who_may_only_look_changes_nothing(of_admin, visit):
    page = visit("rita").open("/admin/")
    forms = [path for path in of_admin.statuses if path.endswith(WAYS_TO_CHANGE)]
    csrf_token = next(c["value"] for c in page.context.cookies() if c["name"] == "csrftoken")
    headers = {"X-CSRFToken": csrf_token, "Referer": page.url}

    statuses = {path: page.request.post(path, headers=headers, form={"post": "yes"}).status for path in forms}

    assert len(forms) > 20
    assert {path: status for path, status in statuses.items() if status != 403} == {}


def test_the_sign_in_is_accessible(visit):
    page = visit().open("/admin/")

    check_accessible(page)
    assert get_overhang_px(page) == 0


def test_on_a_phone_the_navigation_opens_and_closes_by_keyboard(visit):
    page = visit(ADMIN, screen=PHONE).open("/admin/")
    chats = page.locator("#nav-sidebar").get_by_role("link", name="Chats", exact=True)
    expect(chats).to_be_hidden()

    page.get_by_role("button", name="Navigation").press("Enter")

    expect(chats).to_be_visible()
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    check_accessible(page)
    page.keyboard.press("Enter")
    expect(chats).to_be_hidden()
    expect(page.get_by_role("button", name="Navigation")).to_be_focused()


def test_the_keyboard_comes_first_to_a_way_past_the_navigation(visit):
    page = visit(ADMIN).open("/admin/providers/providerconfig/")
    skip = page.get_by_role("link", name="Skip to main content")

    page.keyboard.press("Tab")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")

    expect(page.get_by_role("main")).to_be_focused()


def test_filters_open_by_keyboard(visit):
    page = visit(ADMIN).open("/admin/providers/providerconfig/")

    page.get_by_role("button", name="Filters").press("Enter")

    expect(page.locator("#changelist-filter")).to_be_visible()
    check_accessible(page)
