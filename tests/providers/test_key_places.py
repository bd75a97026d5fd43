from __future__ import annotations

import pytest

from providers.key_places import key_place, move_fault
from providers.types import ProviderType

OPENAI, CUSTOM = ProviderType.OPENAI, ProviderType.CUSTOM
HOME = key_place(CUSTOM, "https://h.example/v1", {})


@pytest.mark.parametrize(
    "url",
    [
        "https://h.example",
        "https://h.example/",
        "https://h.example:443/v1",
        "https://h.example:/v1",
        "https://H.Example/v2",
        "HTTPS://h.example/v1//",
        "https://h.example/@evil.example",
    ],
)
def test_one_place_is_written_in_many_ways(url):
    assert key_place(CUSTOM, url, {"strict_models": True, "extra_headers": {}}) == HOME


@pytest.mark.parametrize(
    "url",
    [
        "http://h.example/v1",
        "http://h.example:443/v1",
        "https://h.example:80/v1",
        "https://h.example:8443/v1",
        "https://h.example.evil.example/v1",
        "https://evil.example/h.example",
        "https://h.example./v1",
        "https://127.0.0.1/v1",
        "https://[::1]/v1",
        "https://h.example\\.evil.example/v1",
    ],
)
def test_another_scheme_host_or_port_is_another_place(url):
    assert key_place(CUSTOM, url, {}) not in {HOME, ""}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h.example",
        "//h.example",
        "ftp://h.example",
        "https://",
        "https://evil.example@h.example/",
        "https://h.example\\@evil.example/",
        "https://h.example?x",
        "https://h.example#x",
        "https://h.exa mple/",
        "https://h.example\n.evil.example/",
        "https://h.example:x/",
        "https://[h/",
    ],
)
def test_what_is_no_base_url_is_no_place(url):
    assert key_place(CUSTOM, url, {}) == ""


def test_another_type_is_another_place():
    assert key_place(OPENAI, "https://h.example/v1", {}) != HOME


@pytest.mark.parametrize(
    "headers", [{"x-target": "evil.example"}, {"x-target": ""}, ["x"], "x", {"x-target": {"nested": 1}}]
)
def test_headers_that_gateways_may_follow_make_another_place(headers):
    assert key_place(CUSTOM, "https://h.example/v1", {"extra_headers": headers}) not in {HOME, ""}


def test_headers_count_by_what_is_sent():
    one = {"extra_headers": {"X-Team": "search", "x-b": "1"}}
    same = {"extra_headers": {"x-b": "1", "x-team": "search"}}

    assert key_place(CUSTOM, "https://h", one) == key_place(CUSTOM, "https://h", same)


@pytest.mark.parametrize(
    ("entered_for", "wanted_at", "words"),
    [
        pytest.param(
            HOME, "custom http://x:1", "for https://h.example: enter it again to use it at http://x:1", id="url"
        ),
        pytest.param(HOME, "openai https://h.example", "for the type custom: enter it again to use", id="type"),
        pytest.param(HOME, f"{HOME} abc", "with other extra headers", id="headers"),
        pytest.param("", HOME, "for no valid address", id="from-nowhere"),
        pytest.param(HOME, "", "for no valid address", id="to-nowhere"),
    ],
)
def test_what_moved_is_told(entered_for, wanted_at, words):
    assert words in move_fault(entered_for, wanted_at)
