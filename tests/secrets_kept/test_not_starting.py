"""What is said by a process that cannot start, or not reach its servers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from llmhub.embedded.options import ROOT
from tests.secrets_kept.canaries import found

pytestmark = pytest.mark.slow

PASSWORD = "canary-password-4711"


def said_by(*arguments: str, **environment: str) -> str:
    """Run a command of the hub, which fails; return all it says."""
    argv = [sys.executable, ROOT / "manage.py", *arguments]
    ran = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    return ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "url",
    [
        f"postgres//hub:{PASSWORD}@db/hub",
        f"hub:{PASSWORD}@db/hub",
        f"postgresql://hub:{PASSWORD}@[::1/hub",
        f"postgresql://hub:{PASSWORD}%zz@db/hub",
    ],
)
def test_a_database_url_that_cannot_be_read_is_not_quoted(url):
    said = said_by("check", DATABASE_URL=url)

    assert "DATABASE_URL: Value error, not of the form postgresql://user:password@host:port/name" in said
    assert found(said, PASSWORD) == []


def test_a_database_that_cannot_be_reached_is_named_without_its_password():
    said = said_by(
        "migrate", "--check", DATABASE_URL=f"postgresql://hub:{PASSWORD}@127.0.0.1:9/hub", LLMHUB_LOG_LEVEL="DEBUG"
    )

    assert "127.0.0.1" in said
    assert found(said, PASSWORD) == []
