from __future__ import annotations

import json
import subprocess
import sys

import psycopg
import pytest
from pydantic import SecretStr

from llmhub import settings
from llmhub.runtime.database import conninfo

pytestmark = pytest.mark.slow

SHOWN = "import json, sys; sys.argv = {argv!r}; from llmhub.settings import DATABASES as d; print(json.dumps(d))"


def options_of(*argv: str) -> dict[str, object]:
    """Return what a process that was started so says to the database driver."""
    shown = subprocess.run(
        [sys.executable, "-c", SHOWN.format(argv=list(argv))], capture_output=True, text=True, timeout=60, check=True
    )
    options: dict[str, object] = json.loads(shown.stdout)["default"]["OPTIONS"]
    return options


def test_a_web_process_shares_connections_and_has_no_endless_statements():
    options = options_of("/venv/bin/uvicorn", "llmhub.asgi:application")

    assert options["pool"] == {"min_size": 0, "max_size": 10, "timeout": settings.POOL_TIMEOUT_S}
    assert "statement_timeout=30s" in str(options["options"])


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(("/venv/bin/celery", "-A", "llmhub", "worker"), id="worker"),
        pytest.param(("/venv/bin/celery", "-A", "llmhub", "beat"), id="beat"),
        pytest.param(("manage.py", "prepare"), id="prepare"),
        pytest.param(("manage.py", "rebuild_chats"), id="rebuild"),
        pytest.param(("manage.py", "seed"), id="seed"),
    ],
)
def test_what_forks_or_works_long_has_neither(argv):
    options = options_of(*argv)

    assert not {"pool", "options"} & set(options)


def test_the_server_takes_the_timeouts_and_those_of_the_url_count_more(db):
    url = SecretStr(conninfo(options="-c lock_timeout=3s"))
    found = settings.web_database(url, pool=0)

    with psycopg.connect(conninfo(options=found["OPTIONS"]["options"])) as connection:
        shown = [connection.execute(f"SHOW {name}").fetchone()[0] for name in settings.WEB_TIMEOUTS]

    assert shown == ["30s", "3s", "1min"]


def test_a_server_that_the_network_does_not_reach_is_given_up():
    options = settings.database(SecretStr("postgresql://hub@db.example/llmhub?tcp_user_timeout=5"))["OPTIONS"]

    assert (options["keepalives_idle"], options["tcp_user_timeout"]) == (10, "5")
