from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.test import Client

from llmhub.runtime.database import conninfo

pytestmark = pytest.mark.slow

SHOWN = """
import json
from llmhub import settings as s
cookies = [f"{kind}_COOKIE_{what}" for kind in ("SESSION", "CSRF") for what in ("NAME", "SECURE")]
print(json.dumps({name: getattr(s, name) for name in [*cookies, "SECURE_SSL_REDIRECT"]}))
"""


def run(*command: str, https: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LLMHUB_HTTPS": https, **more}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_django_finds_nothing_to_warn_of_in_a_deployment(db):
    database = conninfo()

    checked = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", https="1", DATABASE_URL=database)

    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def test_a_key_for_signing_that_could_be_guessed_starts_nothing():
    checked = run("manage.py", "check", https="0", DJANGO_SECRET_KEY="changeme-" * 5)

    assert checked.returncode != 0
    assert "DJANGO_SECRET_KEY: Value error, must be 20 to 256" in checked.stderr
    assert "changeme" not in checked.stderr


@pytest.mark.parametrize(
    ("https", "prefix"), [pytest.param("1", "__Host-", id="https"), pytest.param("0", "", id="plain")]
)
def test_cookies_are_bound_to_the_host_where_there_is_tls(https, prefix):
    shown = json.loads(run("-c", SHOWN, https=https).stdout)

    is_secure = bool(prefix)
    assert shown == {
        "SESSION_COOKIE_NAME": f"{prefix}sessionid",
        "SESSION_COOKIE_SECURE": is_secure,
        "CSRF_COOKIE_NAME": f"{prefix}csrftoken",
        "CSRF_COOKIE_SECURE": is_secure,
        "SECURE_SSL_REDIRECT": is_secure,
    }


@pytest.mark.parametrize(
    ("origin", "status"),
    [pytest.param("https://testserver", 302, id="own"), pytest.param("https://evil.example", 403, id="foreign")],
)
def test_behind_a_proxy_that_ends_tls_only_own_forms_are_taken(db, settings, origin, status):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    User.objects.create_user("ann", password="canary-4711", is_staff=True)
    browser = Client(
        enforce_csrf_checks=True, headers={"host": "testserver", "x-forwarded-proto": "https", "origin": origin}
    )
    token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', browser.get("/accounts/login/").content.decode())[1]

    form = {"csrfmiddlewaretoken": token, "login": "ann", "password": "canary-4711"}

    assert browser.post("/accounts/login/", form).status_code == status
