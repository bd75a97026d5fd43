"""The image, the compose file, the locks and the Makefile, as far as they can be checked without an engine."""

import re
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import psycopg
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llmhub.embedded import postgres, services, wheels
from llmhub.embedded.child_processes import wait_until
from llmhub.embedded.options import ROOT
from llmhub.http.uvicorn_options import DRAIN_TIMEOUT_S
from llmhub.settings import Environment
from tests.stack import stopping

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(COMPOSE_TEXT)["services"]
SET_BY_COMPOSE = {"LLMHUB_TRUSTED_PROXIES"}
"""Settings whose default would be wrong behind the proxy of the compose file."""

OF_THE_HUB = ("migrate", "web", "worker", "beat")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IMAGES = [service["image"] for service in SERVICES.values() if "build" not in service]
IN_THE_IMAGE = """
import os
import django
from django.core.management import call_command, get_commands
os.environ["DJANGO_SETTINGS_MODULE"] = "llmhub.settings"
django.setup()
call_command("check")
call_command("makemigrations", check=True, dry_run=True)
print("commands:", "seed" if "seed" in get_commands() else "no seed")
"""
OPTIONAL = {name for name, field in Environment.model_fields.items() if not field.is_required()}


def read_lock(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_compose_file_names_every_process():
    assert set(SERVICES) == {"postgres", "redis", "proxy", *OF_THE_HUB}


@pytest.mark.parametrize("name", OF_THE_HUB)
def test_the_hub_runs_without_privileges(name):
    service = SERVICES[name]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_every_lasting_service_is_watched_and_restarted(name):
    has_check = "healthcheck" in SERVICES[name] or (name in OF_THE_HUB and "HEALTHCHECK" in DOCKERFILE)

    assert has_check
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_beat_and_worker_do_not_take_the_check_of_web():
    assert "healthcheck" in SERVICES["worker"]
    assert "healthcheck" in SERVICES["beat"]


@pytest.mark.parametrize("name", ["web", "worker", "beat"])
def test_the_hub_waits_for_the_migration(name):
    waits = SERVICES[name]["depends_on"]

    assert waits["migrate"]["condition"] == "service_completed_successfully"
    assert waits["postgres"]["condition"] == waits["redis"]["condition"] == "service_healthy"


def test_the_migration_runs_once_and_alone_may_change_tables():
    assert SERVICES["migrate"]["command"][-1] == "prepare"
    assert SERVICES["migrate"]["restart"] == "no"
    assert "DATABASE_OWNER_URL" in SERVICES["migrate"]["environment"]
    assert "DATABASE_OWNER_URL" not in SERVICES["web"]["environment"]


def test_every_secret_is_required_and_explained():
    used = dict(re.findall(r"\$\{(\w+)(:[-?])?", COMPOSE_TEXT))
    secrets = {name for name in used if re.search("PASSWORD|SECRET", name)}

    assert {name for name in secrets if used[name] != ":?"} == set()
    assert secrets <= set(re.findall(r"^(\w+)=$", (ROOT / "docs/deploy/example.env").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", OF_THE_HUB)
def test_every_setting_reaches_the_containers_as_it_is_set(name):
    passed_by_name = set(SERVICES[name]["environment"]) & {field.upper() for field in OPTIONAL}

    assert SERVICES[name]["env_file"] == [{"path": "hub.env", "required": False}]
    assert passed_by_name - {"DATABASE_OWNER_URL", "LLMHUB_ADMIN_PASSWORD"} == SET_BY_COMPOSE


def test_the_example_of_settings_names_real_ones_with_their_defaults_and_no_secret():
    example = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / "docs/deploy/hub.env").read_text(), re.MULTILINE))

    assert set(example) <= {field.upper() for field in OPTIONAL}
    assert not any(re.search("PASSWORD|SECRET|KEY|_URL", name) for name in example)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_container_can_fill_the_memory_or_the_disk_of_its_host(name):
    service = SERVICES[name]

    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert all("size=" in folder for folder in service.get("tmpfs", ()))


@pytest.mark.parametrize("image", [*IMAGES, *re.findall("^FROM (\\S+)", DOCKERFILE, re.MULTILINE)])
def test_images_are_pinned_to_one_version(image):
    assert re.search(r":\d+\.\d+(\.\d+)?(-[a-z]+)*$", image)


def test_web_may_have_replicas_behind_one_address():
    caddy = (ROOT / "docs/deploy/Caddyfile").read_text()

    assert "ports" not in SERVICES["web"]
    assert [port.rpartition(":")[2] for port in SERVICES["proxy"]["ports"]] == ["80", "443"]
    assert "dynamic a web 8000" in caddy
    assert "flush_interval -1" in caddy


def test_a_model_on_the_host_can_be_reached():
    assert SERVICES["web"]["extra_hosts"] == SERVICES["worker"]["extra_hosts"] == ["host.docker.internal:host-gateway"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(services.WEB_OPTIONS, " ".join(re.findall(r'"([^"]+)"', DOCKERFILE)), id="web"),
        pytest.param(services.WORKER_OPTIONS, " ".join(SERVICES["worker"]["command"]), id="worker"),
        pytest.param(services.BEAT_OPTIONS, " ".join(SERVICES["beat"]["command"]), id="beat"),
    ],
)
def test_containers_start_processes_as_up_does(options, text):
    assert " ".join(options) in text


@pytest.mark.parametrize("options", [services.WEB_OPTIONS, services.WORKER_OPTIONS, services.BEAT_OPTIONS])
def test_who_starts_processes_by_hand_is_told_the_options_of_up(options):
    page = (ROOT / "docs/operations.md").read_text()

    assert " ".join(options) in re.sub(r"\s+\\\n\s+", " ", page)


def test_web_is_given_longer_to_stop_than_chats_to_finish():
    assert int(SERVICES["web"]["stop_grace_period"].removesuffix("s")) > DRAIN_TIMEOUT_S


def test_the_image_takes_nothing_that_it_does_not_name():
    ignored = (ROOT / ".dockerignore").read_text().split()

    copied = {
        source for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()
    }
    assert ignored[0] == "*"
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}


def test_the_image_works_without_made_up_chats(tmp_path):
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert "chat/seeding" in ignored
    for name in ("llmhub", "providers", "chat"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tmp_path / "chat" / "seeding")

    result = subprocess.run(
        [sys.executable, "-c", IN_THE_IMAGE], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "commands: no seed"


def test_the_scripts_of_the_compose_file_exist():
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    mounted = [volume.split(":")[0] for volume in volumes if volume.startswith("./")]

    assert len(mounted) == 3
    assert all((ROOT / path).is_file() for path in mounted)


@pytest.mark.server
def test_the_script_gives_both_roles_their_passwords(guard, home):
    home.mkdir()
    with (
        postgres.open_cluster(home, log=home / "postgres.log", is_durable=False) as cluster,
        stopping(guard, guard.start(postgres.get_command(cluster))) as child,
    ):
        wait_until(partial(postgres.is_ready, cluster), child, timeout_s=30)
        run_password_script(cluster.sockets, LLMHUB_OWNER_DB_PASSWORD="o'wner", LLMHUB_DB_PASSWORD="app")

        with psycopg.connect(cluster.url(postgres.SUPERUSER)) as connection:
            query = "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM%' AND NOT rolsuper ORDER BY 1"
            assert connection.execute(query).fetchall() == [("llmhub",), ("llmhub_owner",)]


def run_password_script(sockets: Path, **passwords: str) -> None:
    programs = wheels.get_postgres_package() / "pginstall18" / "bin"
    database = {"POSTGRES_USER": "postgres", "POSTGRES_DB": "llmhub", "PGHOST": str(sockets)}
    environment = {"PATH": f"{programs}:/usr/bin:/bin"} | database | passwords
    subprocess.run(["sh", ROOT / "docs/deploy/passwords.sh"], env=environment, check=True)


def test_what_runs_is_what_was_tested():
    runtime, everything = read_lock("requirements.lock"), read_lock("requirements-dev.lock")

    assert runtime.items() <= everything.items()
    assert read_lock("requirements-otel.lock").items() <= everything.items()


def test_the_locks_hold_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = {
        "requirements.lock": [*project["project"]["dependencies"], *extras["embedded"]],
        "requirements-otel.lock": extras["otel"],
        "requirements-dev.lock": project["dependency-groups"]["dev"],
    }

    for name, requirements in wanted.items():
        locked = {canonicalize_name(package): version for package, version in read_lock(name).items()}
        for requirement in map(Requirement, requirements):
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_uvicorns_inner_parts_do_not_change_without_a_look_at_what_stands_on_them():
    (wanted,) = [
        requirement
        for requirement in map(
            Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
        )
        if requirement.name == "uvicorn"
    ]

    major, minor, *_ = read_lock("requirements.lock")["uvicorn"].split(".")

    assert not wanted.specifier.contains(f"{major}.{int(minor) + 1}.0")


def test_the_lock_of_the_extra_otel_has_its_packages():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["otel"]

    assert {re.match(r"[\w-]+", wanted)[0] for wanted in extra} <= set(read_lock("requirements-otel.lock"))


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-otel.lock"])
def test_every_locked_package_has_a_hash(name):
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text())

    packages = [entry for entry in entries if re.match(r"[\w.-]+==", entry)]
    assert len(packages) > 10
    assert [entry.split()[0] for entry in packages if "--hash=sha256:" not in entry] == []


def test_make_explains_each_of_its_targets():
    result = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)

    helped = set(re.findall(r"^  make ([\w-]+)\t\w+", result.stdout, re.MULTILINE))
    assert helped == {
        "help",
        "run",
        "seed",
        "check",
        "test",
        "soak",
        "mutants",
        "bench",
        "bench-peers",
        "hops",
        "lint",
        "screenshots",
        "clean",
    }


def test_a_python_that_is_too_old_is_refused_in_words():
    target = ".venv/of-no-lock.stamp"
    rules = "include Makefile\n.venv/of-no-lock.stamp:\n\t@$(call install,requirements.lock,$@)\n"

    result = subprocess.run(
        ["make", "-f", "-", target, "PYTHON="], input=rules, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert result.returncode != 0
    assert "Python 3.11 or newer is needed, and none was found" in result.stderr
