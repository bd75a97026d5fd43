"""Context managers of the embedded servers, each skipped if the environment names another."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from llmhub.embedded import model, postgres, valkey
from llmhub.embedded.console import say, step
from llmhub.embedded.home import write_private
from llmhub.embedded.options import ROOT, Options
from llmhub.embedded.ports import get_loopback_port
from llmhub.embedded.supervisor import Supervisor


@contextmanager
def running_servers(
    options: Options, supervisor: Supervisor, environment: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """Yield the environment variables that point the hub to its servers."""
    with ExitStack() as stack:
        variables = stack.enter_context(_postgres(options, supervisor, environment))
        variables |= stack.enter_context(_valkey(options, supervisor, environment))
        variables |= stack.enter_context(_model(options, supervisor))
        yield variables


@contextmanager
def _postgres(options: Options, supervisor: Supervisor, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    names = ("DATABASE_URL", "DATABASE_OWNER_URL")
    if options.has_own_postgres:
        say("  PostgreSQL: the one that DATABASE_URL names")
        yield {name: environment[name] for name in names if environment.get(name)}
        return
    with ExitStack() as stack:
        with step(f"PostgreSQL {postgres.MAJOR_VERSION}"):
            cluster = stack.enter_context(postgres.open_cluster(options.home, log=options.logs / "postgres.log"))
            stack.callback(supervisor.stop, "postgres")
            child = supervisor.start(postgres.get_command(cluster), stop_timeout_s=postgres.STOP_TIMEOUT_S)
            supervisor.wait_until(partial(postgres.is_ready, cluster), child, timeout_s=postgres.START_TIMEOUT_S)
            postgres.lock_out_superuser(cluster)
        yield {
            "DATABASE_URL": cluster.url(postgres.APPLICATION_ROLE),
            "DATABASE_OWNER_URL": cluster.url(postgres.OWNER_ROLE),
        }


@contextmanager
def _valkey(options: Options, supervisor: Supervisor, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    if options.has_own_redis:
        say("  Redis: the one that REDIS_URL names")
        yield {"REDIS_URL": environment["REDIS_URL"]}
        return
    with ExitStack() as stack:
        with step("Valkey"):
            server = valkey.new_valkey(options.logs / "valkey.log")
            stack.callback(supervisor.stop, "valkey")
            child = supervisor.start(valkey.get_command(server), stop_timeout_s=valkey.STOP_TIMEOUT_S)
            supervisor.wait_until(partial(valkey.is_ready, server), child, timeout_s=valkey.START_TIMEOUT_S)
        yield {"REDIS_URL": server.url}


@contextmanager
def _model(options: Options, supervisor: Supervisor) -> Iterator[dict[str, str]]:
    if not options.wants_model:
        yield {}
        return
    with ExitStack() as stack:
        with step(f"Local model {model.MODEL_NAME}"):
            port = _get_stable_port(options.home / "model.port")
            key = _get_stable_key(options.home / "model.key")
            server = model.new_local_model(port=port, key=key, log=options.logs / "model.log")
            command = model.get_command(server, env={"PATH": os.defpath}, root=ROOT)
            stack.callback(supervisor.stop, "model")
            child = supervisor.start(command, stop_timeout_s=model.STOP_TIMEOUT_S)
            supervisor.wait_until(partial(model.is_ready, server), child, timeout_s=model.START_TIMEOUT_S)
        yield {"LLMHUB_LOCAL_MODEL_URL": server.url, "LLMHUB_LOCAL_MODEL_KEY": key}


def _get_stable_key(file: Path) -> str:
    """Return the key of the last start, so that the provider need not change."""
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32))
    return file.read_text().strip()


def _get_stable_port(file: Path) -> int:
    """Return the port of the last start if free, so that the provider's URL need not change."""
    last = int(file.read_text()) if file.exists() else 0
    port = get_loopback_port(last)
    write_private(file, f"{port}\n")
    return port
