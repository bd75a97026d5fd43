"""What axe-core holds against a page, and whether the page fits a phone."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

from tests.browser.chromium import PHONE, Theme

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
OF_COLOURS = ["color-contrast", "link-in-text-block"]
ASKED: dict[Theme, list[str]] = {"dark": OF_COLOURS, "light": LEVELS}
"""What is asked in each theme, the light one last: but for the colours, both are the same page."""
RUN_AXE = """async asked => {
    const {violations} = await axe.run(document, {runOnly: asked, resultTypes: ['violations']});
    const describe = (rule, node) => ({
        rule: rule.id, at: node.target.join(' '), html: node.html, why: node.failureSummary
    });
    return violations.flatMap(rule => rule.nodes.map(node => describe(rule, node)));
}"""
SET_THEME = "theme => document.documentElement.classList.toggle('dark', theme === 'dark')"
GET_OVERHANG = """async () => {
    const overhang = () => document.scrollingElement.scrollWidth - innerWidth;
    for (let frame = 0; frame < 30 && overhang() > 0; frame++) await new Promise(requestAnimationFrame);
    return overhang();
}"""


def check_accessible(page: Page) -> None:
    found = list_violations(page)
    assert not found, "\n".join(found)


def list_violations(page: Page) -> list[str]:
    """Return the violations of level A and AA in each theme; the page is left in the light one."""
    page.evaluate(AXE_SCRIPT)
    page.add_style_tag(content="*, ::before, ::after { transition: none !important; animation: none !important }")
    found = {theme: _list_violations(page, theme) for theme in ASKED}
    return [f"{violation} ({theme})" for theme, violations in found.items() for violation in violations]


def _list_violations(page: Page, theme: Theme) -> list[str]:
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.evaluate(SET_THEME, theme)
    return [_describe(violation) for violation in page.evaluate(RUN_AXE, ASKED[theme])]


def _describe(violation: dict[str, Any]) -> str:
    why = " ".join(violation["why"].split())[:300]
    return f"{violation['rule']} at {violation['at']}: {violation['html'][:120]}: {why}"


def get_overhang_px(page: Page) -> int:
    """Return by how much the page is wider than a phone, once charts have followed; it is left as wide as it was."""
    before = page.viewport_size
    assert before
    page.set_viewport_size({"width": PHONE.width, "height": PHONE.height})
    overhang: int = page.evaluate(GET_OVERHANG)
    page.set_viewport_size(before)
    return overhang
