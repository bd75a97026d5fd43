"""The commands of the hub's processes: prepare, web, worker and beat."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmhub.embedded.accounts import Account
from llmhub.embedded.child_processes import ChildCommand
from llmhub.embedded.options import ROOT, get_reached_host
from llmhub.embedded.ports import is_answering
from llmhub.http.uvicorn_options import as_arguments

READY_TIMEOUT_S = 90.0
PROBE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 12.0

WEB_OPTIONS = tuple(as_arguments())
WORKER_OPTIONS = ("--pool", "threads", "--concurrency", "4", "--without-gossip", "--without-mingle")
BEAT_OPTIONS = ("--pidfile=",)


@dataclass(frozen=True, slots=True)
class HubCommands:
    """Commands that share environment, log folder and account."""

    logs: Path
    env: Mapping[str, str] = field(repr=False)
    account: Account | None = None
    heartbeat_dir: Path | None = None
    """A folder for heartbeat files that the account may write to; None: the log folder."""

    def prepare(self, secrets: Mapping[str, str]) -> ChildCommand:
        """Return the command that migrates, and on the first start creates the accounts of `secrets`."""
        command = self._python("prepare", str(ROOT / "manage.py"), "prepare")
        return replace(command, env={**self.env, **secrets}, account=None)

    def web(self, host: str, port: int, *, processes: int) -> ChildCommand:
        workers = ("--workers", str(processes)) if processes > 1 else ()
        address = ("--host", host, "--port", str(port))
        return self._python("web", "-m", "uvicorn", "llmhub.asgi:application", *address, *WEB_OPTIONS, *workers)

    def worker(self) -> ChildCommand:
        return self._with_heartbeat(
            self._python("worker", "-m", "celery", "-A", "llmhub", "--quiet", "worker", *WORKER_OPTIONS)
        )

    def beat(self) -> ChildCommand:
        return self._with_heartbeat(
            self._python("beat", "-m", "celery", "-A", "llmhub", "--quiet", "beat", *BEAT_OPTIONS)
        )

    def _with_heartbeat(self, command: ChildCommand) -> ChildCommand:
        heartbeat_file = (self.heartbeat_dir or self.logs) / f"{command.name}.heart"
        return replace(command, heartbeat_file=heartbeat_file, env={**command.env, "LLMHUB_HEART": str(heartbeat_file)})

    def _python(self, name: str, *arguments: str) -> ChildCommand:
        return ChildCommand(
            name=name,
            argv=[sys.executable, *arguments],
            log=self.logs / f"{name}.log",
            env=self.env,
            cwd=ROOT,
            account=self.account,
        )


def is_web_ready(host: str, port: int) -> bool:
    """Probe /readyz, which returns 200 once chats can be recorded and the database is migrated."""
    return is_answering(get_reached_host(host), port, "/readyz", timeout_s=PROBE_TIMEOUT_S)
