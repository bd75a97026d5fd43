from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from llmhub.database import conninfo

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
