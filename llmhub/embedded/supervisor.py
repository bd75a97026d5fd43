"""Keep children running until a stop is requested, and report what happens to them."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from llmhub.embedded.child_processes import Child, ChildCommand, Guard, log_size, read_tail, rotate, wait_until
from llmhub.embedded.errors import EmbeddedError
from llmhub.runtime.log_lines import format_line, is_alarming

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
POLL_S = 0.2
STOP_POLL_S = 0.05
STEADY_S = 60.0
MAX_QUICK_DEATHS = 5
MAX_BACKOFF_S = 30.0
HANGS_AFTER_S = 150.0
"""How long without a heartbeat before a child is killed: longer than its own watchdog, or its start, takes."""

ECHO_LINES = 20
ECHO_BYTES = 64_000


class StopRequestedError(Exception):
    """A signal requested a stop; raised only at safe points."""


@dataclass(slots=True)
class SupervisedProcess:
    """A child and its history; `restart_at` is set while it waits for a restart.

    Units: `heartbeat_at` is the last observed heartbeat, by the supervisor's monotonic clock.
    """

    child: Child
    stop_timeout_s: float
    is_echoed: bool
    started_at: float
    log_offset: int
    deaths: int = 0
    restart_at: float | None = None
    heartbeat_mtime: float = 0.0
    heartbeat_at: float = 0.0

    def is_silent(self, now: float, *, after_s: float) -> bool:
        """Whether it has sent no heartbeat for `after_s`."""
        heartbeat_file = self.child.command.heartbeat_file
        if heartbeat_file is None:
            return False
        mtime = heartbeat_file.stat().st_mtime if heartbeat_file.exists() else 0.0
        if mtime != self.heartbeat_mtime:
            self.heartbeat_mtime, self.heartbeat_at = mtime, now
        return now - max(self.heartbeat_at, self.started_at) > after_s


@dataclass(slots=True)
class Supervisor:
    guard: Guard
    say: Callable[[str], None]
    first_backoff_s: float = 1.0
    hurry_after_s: float = 1.0
    hangs_after_s: float = HANGS_AFTER_S
    _services: dict[str, SupervisedProcess] = field(default_factory=dict)
    _stop_requested_at: float | None = None
    _is_hurried: bool = False

    def listen(self) -> None:
        """Install signal handlers: the first signal stops gracefully, the second at once."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def start(self, command: ChildCommand, *, stop_timeout_s: float, is_echoed: bool = False) -> Child:
        self._raise_if_stopping()
        offset = log_size(command.log)
        child = self.guard.start(command)
        self._services[command.name] = SupervisedProcess(child, stop_timeout_s, is_echoed, time.monotonic(), offset)
        return child

    def wait_until(self, is_ready: Callable[[], bool], child: Child, *, timeout_s: float) -> None:
        wait_until(is_ready, child, timeout_s=timeout_s, pause=self._pause)

    def run(self, command: ChildCommand) -> None:
        """Run a command to completion. Errors: EmbeddedError with the end of its log if it fails."""
        child = self.start(command, stop_timeout_s=STOP_POLL_S)
        while child.is_running:
            self._pause(STOP_POLL_S)
        del self._services[command.name]
        self.guard.clear(child)
        if child.process.returncode != 0:
            raise EmbeddedError(f"`{command.name}` failed. The end of {command.log}:\n{read_tail(command.log)}")

    def watch(self) -> None:
        """Restart children that exit, and echo their warnings, until a signal requests a stop."""
        while True:
            for service in self._services.values():
                self._echo(service)
                self._check(service)
                if full := rotate(service.child.command.log):
                    self._echo(service, full)
                    service.log_offset = 0
            self._pause(POLL_S)

    def stop(self, *names: str) -> None:
        """Stop the named children together; another signal ends the waiting."""
        services = [self._services.pop(name) for name in names if name in self._services]
        for service in services:
            service.child.send_stop()
        deadline = {service.child.name: time.monotonic() + service.stop_timeout_s for service in services}
        for service in services:
            while service.child.is_running and not self._is_hurried and time.monotonic() < deadline[service.child.name]:
                time.sleep(STOP_POLL_S)
            if service.child.is_running:
                self.say(f"{service.child.name} did not stop in time and is killed")
            self._echo(service)
            self.guard.clear(service.child)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Treat simultaneous signals as one: `make` forwards what its whole group receives."""
        now = time.monotonic()
        if self._stop_requested_at is None:
            self._stop_requested_at = now
        elif now - self._stop_requested_at >= self.hurry_after_s:
            self._is_hurried = True

    def _pause(self, duration_s: float) -> None:
        time.sleep(duration_s)
        self._raise_if_stopping()

    def _raise_if_stopping(self) -> None:
        if self._stop_requested_at is not None:
            raise StopRequestedError

    def _check(self, service: SupervisedProcess) -> None:
        now = time.monotonic()
        if service.restart_at is not None:
            if now >= service.restart_at:
                service.child = self.guard.start(service.child.command)
                service.started_at, service.restart_at = now, None
        elif service.child.is_running and service.is_silent(now, after_s=self.hangs_after_s):
            self.say(f"{service.child.name} hangs and is killed")
            self.guard.clear(service.child)
        elif not service.child.is_running:
            service.restart_at = now + self._report_death(service, now)

    def _report_death(self, service: SupervisedProcess, now: float) -> float:
        """Return the backoff before a restart. Errors: EmbeddedError after repeated exits."""
        child = service.child
        self.guard.clear(child)
        service.deaths = service.deaths + 1 if now - service.started_at < STEADY_S else 1
        log = child.command.log
        ending = f"{child.name} {_describe_end(child.process.returncode)}. The end of {log}:\n{read_tail(log)}"
        if service.deaths >= MAX_QUICK_DEATHS:
            raise EmbeddedError(f"{ending}\n{child.name} has ended {service.deaths} times in a row: giving up.")
        backoff_s = min(self.first_backoff_s * 2.0 ** (service.deaths - 1), MAX_BACKOFF_S)
        self.say(f"{ending}\n{child.name} is started again in {backoff_s:g} s")
        return backoff_s

    def _echo(self, service: SupervisedProcess, log: Path | None = None) -> None:
        """Echo new log lines of level WARNING or above."""
        if not service.is_echoed:
            return
        log = log or service.child.command.log
        size = log_size(log)
        start = max(service.log_offset, size - ECHO_BYTES)
        text, service.log_offset = _read_lines(log, start) if size > start else ("", size)
        lines = [format_line(line) for line in text.splitlines() if is_alarming(line)]
        for line in lines[:ECHO_LINES]:
            self.say(f"{service.child.name} | {line}")
        if len(lines) > ECHO_LINES:
            self.say(f"{service.child.name} | … {len(lines) - ECHO_LINES} more in {service.child.command.log}")


def _describe_end(status: int) -> str:
    return f"ended with status {status}" if status >= 0 else f"was ended by {signal.Signals(-status).name}"


def _read_lines(log: Path, start: int) -> tuple[str, int]:
    """Return the complete lines after `start`, and their end offset."""
    with log.open("rb") as file:
        file.seek(start)
        block = file.read()
    complete = block[: block.rfind(b"\n") + 1]
    return complete.decode(errors="replace"), start + len(complete)
