"""Child processes that never outlive this one: each has its own process group, and a guard knows them all."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from llmhub.embedded import guard
from llmhub.embedded.accounts import Account
from llmhub.embedded.errors import EmbeddedError
from llmhub.runtime.log_lines import format_line

LOG_ROTATE_BYTES = 10_000_000
LOGS_KEPT = 3
"""How many rotated logs are kept."""

LOG_TAIL_BYTES = 4_000
POLL_S = 0.02
LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables that some builds of Python need to start; the guard gets no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """How to start a child; `stdin` carries secrets, which the process list must not show.

    Shape: `heartbeat_file` is a file that the child touches every few seconds unless it hangs.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(repr=False)
    cwd: Path = Path("/")
    account: Account | None = None
    stdin: str | None = field(default=None, repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    heartbeat_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Child:
    command: ChildCommand
    process: subprocess.Popen[str]

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def send_stop(self) -> None:
        if self.is_running:
            os.kill(self.process.pid, self.command.stop_signal)

    def wait(self, timeout_s: float) -> bool:
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


class Guard:
    """A process that ends the children if this one is killed; it holds `lock_fd` until then."""

    def __init__(self, *, lock_fd: int | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=() if lock_fd is None else (lock_fd,),
            start_new_session=True,
            text=True,
            bufsize=1,
            cwd="/",
            env={name: os.environ[name] for name in LOADER_VARIABLES if name in os.environ},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, command: ChildCommand) -> Child:
        """Start a child in its own session, appending its output to its log."""
        account = command.account
        with _open_log(command.log) as log:
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL if command.stdin is None else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=command.env,
                user=account.switch_uid if account else None,
                group=account.switch_gid if account else None,
                extra_groups=account.switch_groups if account else None,
                cwd=command.cwd,
                start_new_session=True,
                text=True,
            )
        self._send_command(f"watch {process.pid} {command.stop_signal.value}")
        if process.stdin:
            _write(process.stdin, command.stdin or "")
        return Child(command, process)

    def stop(self, child: Child, *, timeout_s: float) -> bool:
        """Stop a child, with SIGKILL after the timeout; return whether it exited by itself."""
        child.send_stop()
        has_exited = child.wait(timeout_s)
        self.clear(child)
        return has_exited

    def clear(self, child: Child) -> None:
        """Kill the rest of the child's process group, and stop guarding it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        self._send_command(f"forget {child.process.pid}")

    def close(self) -> None:
        """End every guarded group, then the guard itself."""
        with suppress(BrokenPipeError):
            self._pipe.close()
        self._process.wait()

    def _send_command(self, line: str) -> None:
        # Without the guard, the hub still runs, and stops its children itself.
        with suppress(BrokenPipeError):
            self._pipe.write(f"{line}\n")

    @property
    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


def wait_until(
    is_ready: Callable[[], bool], child: Child, *, timeout_s: float, pause: Callable[[float], None] = time.sleep
) -> None:
    """Wait until a child is ready; `pause` may raise to abort.

    Errors: EmbeddedError with the end of the child's log if it exited or timed out.
    """
    deadline_s = time.monotonic() + timeout_s
    while not is_ready():
        if not child.is_running or time.monotonic() > deadline_s:
            failure = f"did not start within {timeout_s:.0f} s" if child.is_running else "stopped while starting"
            log = child.command.log
            raise EmbeddedError(f"{child.name} {failure}. The end of {log}:\n{read_tail(log)}")
        pause(POLL_S)


def log_size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def log_contains(log: Path, text: str, *, since: int) -> bool:
    """Whether a log contains a text after offset `since`; anywhere, if it was rotated since."""
    if not log.exists():
        return False
    with log.open("rb") as file:
        file.seek(since if since <= log.stat().st_size else 0)
        return text.encode() in file.read()


def read_tail(log: Path, *, lines: int = 12) -> str:
    """Return the end of a log, indented for a message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(f"    {format_line(line)}" for line in text.splitlines()[-lines:])


def rotate(log: Path) -> Path | None:
    """Rotate a large log by copy and truncate; return the copy, None if the log is small.

    The writer keeps appending to the same file. Lines written during the copy may be lost.
    """
    if not log.exists() or log.stat().st_size <= LOG_ROTATE_BYTES:
        return None
    for number in range(LOGS_KEPT - 1, 0, -1):
        previous = _numbered(log, number)
        if previous.exists():
            previous.replace(_numbered(log, number + 1))
    with log.open("rb") as source, _append(_numbered(log, 1)) as copy:
        shutil.copyfileobj(source, copy)
    os.truncate(log, 0)
    return _numbered(log, 1)


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")


def _open_log(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    return _append(log)


def _append(file: Path) -> IO[bytes]:
    return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def _write(pipe: IO[str], text: str) -> None:
    # The log of a child that has already exited tells why.
    with suppress(BrokenPipeError):
        pipe.write(text)
        pipe.close()
