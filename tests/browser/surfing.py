"""Every kind of page that somebody reaches by the links they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from playwright.sync_api import Page

SERVED = ("/admin/", "/accounts/")
LEFT_OUT = re.compile(r"/(jsi18n|logout|autocomplete|search)/|/r/\d+/|/api/|\.(csv|json|jsonl|zip|txt|py|sh)$|/export")
ONE_ROW = re.compile(r"(?<=/)((?:[\w.]+_3A)?\d+|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32})(?=/|$)")
GET_LINKS = "() => [...document.querySelectorAll('a[href]:not([download])')].map(link => link.href)"


def kind_of(path: str) -> str:
    """Return the path with * for what names one row."""
    return ONE_ROW.sub("*", path)


def surf(page: Page, *, start: str = "/admin/") -> Iterator[tuple[str, int]]:
    """Go to the first page of each kind, in the order of their links; yield each one's path and status."""
    waiting, seen = [start], {kind_of(start)}
    while waiting:
        path = waiting.pop(0)
        answer = page.goto(path)
        assert answer, path
        yield path, answer.status
        for link in _list_links(page):
            if kind_of(link) not in seen:
                seen.add(kind_of(link))
                waiting.append(link)


def _list_links(page: Page) -> list[str]:
    here = urlsplit(page.url)
    links = [urlsplit(link) for link in page.evaluate(GET_LINKS)]
    paths = [link.path for link in links if (link.scheme, link.netloc) == (here.scheme, here.netloc)]
    return [path for path in paths if path.startswith(SERVED) and not LEFT_OUT.search(path)]
