"""Every page that an admin reaches, in both themes and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.browser.accessibility import check_accessible, get_overhang_px, list_violations
from tests.browser.chromium import open_window
from tests.browser.complaints import Complaints
from tests.browser.product import ADMIN, PASSWORD
from tests.browser.surfing import kind_of, surf
from tests.browser.walking import sign_in


@dataclass
class Survey:
    """What was found on each kind of page."""

    statuses: dict[str, int] = field(default_factory=dict)
    violations: dict[str, list[str]] = field(default_factory=dict)
    overhangs_px: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def survey(browser, product) -> Iterator[Survey]:
    survey = Survey()
    with open_window(browser, product.url) as window:
        page, complaints = window.new_page(), Complaints(window, product.url)
        sign_in(page, ADMIN, PASSWORD)
        for path, status in surf(page):
            kind = kind_of(path)
            survey.statuses[kind] = status
            survey.violations[kind] = list_violations(page)
            survey.overhangs_px[kind] = get_overhang_px(page)
        survey.complaints = complaints.heard
        yield survey


def test_every_link_of_an_admin_leads_to_a_page(survey):
    assert len(survey.statuses) > 40
    assert {kind: status for kind, status in survey.statuses.items() if status != 200} == {}


def test_every_page_is_accessible_in_both_themes(survey):
    found = [f"{kind} {violation}" for kind, violations in survey.violations.items() for violation in violations]

    assert not found, "\n".join(found)


def test_every_page_fits_a_phone(survey):
    assert {kind: px for kind, px in survey.overhangs_px.items() if px > 0} == {}


def test_no_page_makes_the_browser_complain(survey):
    assert survey.complaints == []


def test_the_sign_in_is_accessible(visit):
    page = visit().open("/admin/")

    check_accessible(page)
    assert get_overhang_px(page) == 0
