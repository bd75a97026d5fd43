from __future__ import annotations

import re

import pytest

pytestmark = pytest.mark.django_db

INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>|\son\w+=\"", re.IGNORECASE)
OPEN = ("/accounts/login/", "/accounts/inactive/", "/api/docs", "/nothing", "/accounts/signup/")
CLOSED = (
    "/admin/",
    "/admin/password_change/",
    "/admin/mfa/authenticator/",
    "/admin/auth/user/add/",
    "/admin/auth/group/add/?_popup=1",
    "/accounts/2fa/",
    "/accounts/reauthenticate/",
)


def directives(answer):
    parts = (part.split() for part in answer.headers["content-security-policy"].split(";"))
    return {part[0]: part[1:] for part in parts}


@pytest.mark.parametrize("path", [*OPEN, *CLOSED])
def test_every_page_carries_the_policy_and_keeps_to_it(admin_client, client, path):
    answer = (client if path in OPEN else admin_client).get(path)

    policy = directives(answer)
    assert policy["default-src"] == ["'self'"]
    assert (policy["object-src"], policy["frame-ancestors"]) == (["'none'"], ["'none'"])
    assert "'unsafe-inline'" not in policy["script-src"]
    assert not INLINE.search(answer.content.decode())


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ],
)
def test_pages_tell_browsers_to_be_careful(client, header, value):
    assert client.get("/accounts/login/").headers[header] == value


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/2fa/", "/accounts/reauthenticate/"])
def test_pages_about_signing_in_are_kept_by_nobody(client, admin_client, path):
    answer = (client if path in OPEN else admin_client).get(path)

    assert "no-store" in answer.headers["cache-control"]
