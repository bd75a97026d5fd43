"""`manage.py up`: run the whole hub in one command, with embedded servers as needed."""

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from llmhub.embedded import services, wheels
from llmhub.embedded.accounts import Account, find_hub_account
from llmhub.embedded.child_processes import Guard
from llmhub.embedded.console import say, step
from llmhub.embedded.errors import EmbeddedError
from llmhub.embedded.home import (
    ADMIN_USER,
    FIRST_SECRETS,
    HUB_SECRETS,
    Secrets,
    make_secrets,
    open_home,
    runtime_file,
    write_credentials,
)
from llmhub.embedded.options import ROOT, Options, read_options
from llmhub.embedded.ports import get_free_port
from llmhub.embedded.servers import running_servers
from llmhub.embedded.services import HubCommands
from llmhub.embedded.supervisor import StopRequestedError, Supervisor
from llmhub.http.uvicorn_options import DRAIN_TIMEOUT_S

OWNER = "DATABASE_OWNER_URL"
MODEL_KEY = "LLMHUB_LOCAL_MODEL_KEY"
DESCRIPTION = """\
Run the whole hub until Ctrl-C: web, worker and beat, with PostgreSQL, Valkey and a small local model of its own
unless the environment names others.

  HOST, PORT             where to listen: 127.0.0.1, 8000
  LLMHUB_ALLOWED_HOSTS   names by which others reach it, comma-separated: its own address and localhost
  WEB_CONCURRENCY        web processes: 1
  LLMHUB_HOME            data, secrets and logs: .llmhub beside manage.py
  DATABASE_URL           a PostgreSQL of your own; DATABASE_OWNER_URL too if its tables have another owner
  REDIS_URL              a Redis of your own
  LLMHUB_LOCAL_MODEL     0: no local model
  LLMHUB_ADMIN_PASSWORD  the first admin's password, and
  LLMHUB_DEMO_KEY        the demo application's API key: made up unless set
"""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="manage.py up", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv[2:])
    try:
        run(read_options(os.environ), os.environ)
    except StopRequestedError:
        return 0
    except EmbeddedError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    return 0


def run(options: Options, environment: Mapping[str, str]) -> None:
    """Start everything, then supervise it until StopRequestedError."""
    began_at = time.monotonic()
    with ExitStack() as stack:
        lock_fd = stack.enter_context(open_home(options.home))
        os.umask(0o077)
        options = replace(options, port=get_free_port(options.host, options.port))
        check_wheels(options)
        say(f"Starting llmhub; its data, secrets and logs are in {options.home}")
        secrets = make_secrets(options.home, environment)
        write_credentials(options.home, options.url, secrets)
        for name in FIRST_SECRETS:
            if environment.get(name, secrets.variables[name]) != secrets.variables[name]:
                say(f"  {name} applies only at the first start: this hub keeps its own, see credentials.json")
        supervisor = Supervisor(stack.enter_context(Guard(lock_fd=lock_fd)), say)
        supervisor.listen()
        stack.callback(say, "Stopped.")
        variables = stack.enter_context(running_servers(options, supervisor, environment))
        variables |= {name: secrets.variables[name] for name in HUB_SECRETS}
        stack.enter_context(runtime_file(options.home, variables))
        account = find_account(options)
        env = get_environment(options, environment, variables, account=account)
        prepare_secrets = {name: secrets.variables[name] for name in FIRST_SECRETS}
        prepare_secrets |= {name: variables[name] for name in (OWNER, MODEL_KEY) if name in variables}
        stack.enter_context(running_hub(options, supervisor, env=env, account=account, prepare_secrets=prepare_secrets))
        say(get_banner(options, secrets, took_s=time.monotonic() - began_at))
        supervisor.watch()


def check_wheels(options: Options) -> None:
    """Check for all needed files before anything starts."""
    if not options.has_own_postgres:
        wheels.get_postgres_package()
    if not options.has_own_redis:
        wheels.get_valkey_server()
    if options.wants_model:
        wheels.get_model_file()


def find_account(options: Options) -> Account | None:
    """Return the account of web, worker and beat if root starts them, and grant it access to `home`."""
    account = find_hub_account(python=sys.executable, root=ROOT, port=options.port)
    if account is not None:
        os.chown(options.home, -1, account.gid)
        options.home.chmod(0o710)
    elif os.geteuid() == 0:
        say("  Web, worker and beat run as root: no other account can read their code, or listen on the port")
    return account


def get_environment(
    options: Options, environment: Mapping[str, str], variables: Mapping[str, str], *, account: Account | None
) -> dict[str, str]:
    """Return the environment of web, worker and beat, without the secrets that only `prepare` needs."""
    metrics = get_own_folder(options.home / "metrics", account)
    excluded = {*FIRST_SECRETS, "LLMHUB_LOCAL_MODEL_URL", MODEL_KEY}
    return {
        **{name: value for name, value in environment.items() if name not in excluded},
        **{name: value for name, value in variables.items() if name != MODEL_KEY},
        **({"HOME": "/"} if account is not None else {}),
        "LLMHUB_ALLOWED_HOSTS": environment.get("LLMHUB_ALLOWED_HOSTS") or ",".join(options.own_names),
        "LLMHUB_HOME": str(options.home),
        "HOST": options.host,
        "PORT": str(options.port),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "LLMHUB_STOP_NOTICE_S": environment.get("LLMHUB_STOP_NOTICE_S", "0"),
        OWNER: "",  # not even from runtime.env: processes that serve chats must not own their record
        "PYTHONUNBUFFERED": "1",
    }


def get_own_folder(folder: Path, account: Account | None) -> Path:
    """Recreate a folder that web, worker and beat may write to."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if account is not None:
        account.own(folder)
    return folder


@contextmanager
def running_hub(
    options: Options,
    supervisor: Supervisor,
    *,
    env: Mapping[str, str],
    account: Account | None,
    prepare_secrets: Mapping[str, str],
) -> Iterator[None]:
    """Prepare the database, then run web, worker and beat; the latter two start once web is ready."""
    commands = HubCommands(options.logs, env, account, heartbeat_dir=get_own_folder(options.home / "hearts", account))
    with step("Database: tables, admin user, demo application"):
        supervisor.run(commands.prepare(prepare_secrets))
    try:
        with step("Web"):
            command = commands.web(options.host, options.port, processes=options.web_processes)
            web = supervisor.start(command, stop_timeout_s=DRAIN_TIMEOUT_S + 5, is_echoed=True)
            is_ready = partial(services.is_web_ready, options.host, options.port)
            supervisor.wait_until(is_ready, web, timeout_s=services.READY_TIMEOUT_S)
        for command in (commands.worker(), commands.beat()):
            supervisor.start(command, stop_timeout_s=services.STOP_TIMEOUT_S, is_echoed=True)
        yield
    finally:
        say("\nStopping: chats in progress may finish; press Ctrl-C again to stop at once")
        supervisor.stop("web")
        supervisor.stop("worker", "beat")


def get_banner(options: Options, secrets: Secrets, *, took_s: float) -> str:
    """Return the start banner; with password and key only at the first start."""
    file = options.home / "credentials.json"
    key = secrets.variables["LLMHUB_DEMO_KEY"] if secrets.is_new else f"see {file}"
    password = secrets.variables["LLMHUB_ADMIN_PASSWORD"] if secrets.is_new else f"see {file}"
    return f"""
llmhub is ready at {options.url} after {took_s:.1f} s

  Admin     {options.url}/admin/
  User      {ADMIN_USER}
  Password  {password}
  API key   {key}
  API docs  {options.url}/api/docs

{get_first_chat(options, secrets)}
All of this is in {file}. Ctrl-C stops the hub.
"""


def get_first_chat(options: Options, secrets: Secrets) -> str:
    if not options.wants_model:
        return "For a first chat, add a provider in the admin: there is no local model.\n"
    if secrets.is_new:
        title, header = "A first chat:", shlex.quote(f"Authorization: Bearer {secrets.variables['LLMHUB_DEMO_KEY']}")
    else:
        title, header = "A chat, where LLMHUB_KEY holds the API key:", '"Authorization: Bearer $LLMHUB_KEY"'
    chat = '{"model": "local/smollm2", "messages": [{"role": "user", "content": "Say hello."}]}'
    return f"""\
{title}

  curl {options.url}/v1/chat/completions \\
    -H {header} -H 'Content-Type: application/json' \\
    -d '{chat}'
"""
