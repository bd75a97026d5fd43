"""Child processes that never outlive us: each in a process group of its own, all of them known to a guard."""

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
"""How many full logs are kept beside the one that is written."""

LOG_TAIL_BYTES = 4_000
POLL_S = 0.02
LOADER_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What some builds of Python cannot start without; the guard needs to know nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildCommand:
    """How to start one child; `stdin` carries what must not be seen in the list of processes.

    Shape: `heart` is a file that the child touches every few seconds while it does not hang.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(repr=False)
    cwd: Path = Path("/")
    account: Account | None = None
    stdin: str | None = field(default=None, repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    heart: Path | None = None


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
    """The process that ends our children if we are killed; `lock_fd` stays locked until it has."""

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
        """Start a child in its own session, its output appended to its log."""
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
        self._tell(f"watch {process.pid} {command.stop_signal.value}")
        if process.stdin:
            _write(process.stdin, command.stdin or "")
        return Child(command, process)

    def stop(self, child: Child, *, timeout_s: float) -> bool:
        """Stop one child, by force once the time is over; return whether it went by itself."""
        child.send_stop()
        went = child.wait(timeout_s)
        self.clear(child)
        return went

    def clear(self, child: Child) -> None:
        """Kill whatever is left of the child's group, and forget it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()
        self._tell(f"forget {child.process.pid}")

    def close(self) -> None:
        """End everything still watched, then the guard itself."""
        with suppress(BrokenPipeError):
            self._pipe.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        # Without its guard the hub still runs and stops its children itself.
        with suppress(BrokenPipeError):
            self._pipe.write(f"{line}\n")

    @property
    def _pipe(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin


def wait_until(
    is_ready: Callable[[], bool], child: Child, *, timeout_s: float, pause: Callable[[float], None] = time.sleep
) -> None:
    """Wait for a child to be of use; `pause` may raise to give up.

    Errors: EmbeddedError with the end of the child's log if it went or took too long.
    """
    deadline = time.monotonic() + timeout_s
    while not is_ready():
        if not child.is_running or time.monotonic() > deadline:
            what = f"did not start within {timeout_s:.0f} s" if child.is_running else "stopped while starting"
            log = child.command.log
            raise EmbeddedError(f"{child.name} {what}. The end of {log}:\n{read_tail(log)}")
        pause(POLL_S)


def log_size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def has_said(log: Path, words: str, *, since: int) -> bool:
    """Tell whether a log has had these words since it was so long; of one begun anew meanwhile, at all."""
    if not log.exists():
        return False
    with log.open("rb") as file:
        file.seek(since if since <= log.stat().st_size else 0)
        return words.encode() in file.read()


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
    """Begin a log anew once it is large; return the full one, None where it was not.

    Its writer goes on with the same file, to which it appends: the full one is a copy. Lines that are written while
    it is made may be lost.
    """
    if not log.exists() or log.stat().st_size <= LOG_ROTATE_BYTES:
        return None
    for number in range(LOGS_KEPT - 1, 0, -1):
        older = _numbered(log, number)
        if older.exists():
            older.replace(_numbered(log, number + 1))
    with log.open("rb") as full, _append(_numbered(log, 1)) as copy:
        shutil.copyfileobj(full, copy)
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
    # A child that has gone already says why in its log.
    with suppress(BrokenPipeError):
        pipe.write(text)
        pipe.close()
