"""The embedded Valkey: on a free loopback port, with a password, without persistence."""

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from llmhub.embedded import wheels
from llmhub.embedded.child_processes import ChildCommand, log_contains, log_size
from llmhub.embedded.ports import LOOPBACK, get_loopback_port

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 1.0
LISTENS = "Ready to accept connections"


@dataclass(frozen=True, slots=True)
class Valkey:
    port: int
    password: str = field(repr=False)
    log: Path
    log_size: int = 0

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"


def new_valkey(log: Path) -> Valkey:
    return Valkey(port=get_loopback_port(), password=secrets.token_urlsafe(24), log=log, log_size=log_size(log))


def get_command(valkey: Valkey) -> ChildCommand:
    """Return the command; the configuration goes through standard input, which hides the password."""
    lines = (
        f"bind {LOOPBACK}",
        f"port {valkey.port}",
        f"requirepass {valkey.password}",
        'save ""',
        "appendonly no",
        "maxmemory-policy noeviction",
        "enable-debug-command no",
    )
    argv = [str(wheels.get_valkey_server()), "-"]
    return ChildCommand(name="valkey", argv=argv, log=valkey.log, env={}, stdin="\n".join(lines) + "\n")


def is_ready(valkey: Valkey) -> bool:
    """Whether our server, and not another process, has the port: its log tells, and it accepts the password.

    The password is sent only after the log confirms the port.
    """
    if not log_contains(valkey.log, LISTENS, since=valkey.log_size):
        return False
    try:
        with socket.create_connection((LOOPBACK, valkey.port), CONNECT_TIMEOUT_S) as connection:
            connection.sendall(f"AUTH {valkey.password}\r\nPING\r\n".encode())
            reply = b""
            while reply.count(b"\r\n") < 2 and (received := connection.recv(256)):
                reply += received
    except OSError:
        return False
    return reply == b"+OK\r\n+PONG\r\n"
