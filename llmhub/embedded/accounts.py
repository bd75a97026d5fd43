"""The unprivileged accounts of servers and hub when root starts them, unused by anything else on the machine."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from llmhub.embedded.errors import EmbeddedError

UNPRIVILEGED_NAMES = ("nobody", "daemon")

# Ids that no distribution assigns (systemd's docs/UIDS-GIDS.md lists 60706 to 61183 as unused). They need no entry in
# /etc/passwd. Both accounts share the group, which gives access to the socket.
GROUP_ID = 60_717
POSTGRES_ID = 60_717
HUB_ID = 60_718
FIRST_UNPRIVILEGED_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int

    @property
    def is_another(self) -> bool:
        return self.uid != os.geteuid()

    @property
    def switch_uid(self) -> int | None:
        """The `user` argument of subprocess; None keeps the current user."""
        return self.uid if self.is_another else None

    @property
    def switch_gid(self) -> int | None:
        return self.gid if self.is_another else None

    @property
    def switch_groups(self) -> list[int] | None:
        return [] if self.is_another else None

    def own(self, path: Path) -> None:
        if self.is_another:
            os.chown(path, self.uid, self.gid)


def get_own_account() -> Account:
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedError(
            f"User {os.geteuid()} has no name on this machine, and PostgreSQL does not start without one."
            " Run as a user that exists, or set DATABASE_URL."
        ) from None
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def get_postgres_account() -> Account:
    """Return the current account; for root, a dedicated one, or else one that every system has."""
    own = get_own_account()
    if own.uid != 0:
        return own
    account = Account(name="llmhub-postgres", uid=POSTGRES_ID, gid=GROUP_ID)
    return account if can_run(account, "/bin/sh", "-c", ":") else get_named_account()


def find_hub_account(*, python: str, root: Path, port: int) -> Account | None:
    """Return the account of the hub's processes if root starts them; None to keep the current user.

    None also for root if another account cannot read the code or listen on the port.
    """
    if os.geteuid() != 0:
        return None
    account = Account(name="llmhub", uid=HUB_ID, gid=GROUP_ID)
    program = f"import sys; sys.path.insert(0, {str(root)!r}); import django, llmhub.embedded.up, chat, providers"
    can_listen = not 0 < port < _first_unprivileged_port()
    return account if can_listen and can_run(account, python, "-c", program) else None


def _first_unprivileged_port() -> int:
    return int(FIRST_UNPRIVILEGED_PORT.read_text()) if FIRST_UNPRIVILEGED_PORT.exists() else 1024


def can_run(account: Account, *argv: str) -> bool:
    """Run a harmless command as this account, rather than deriving permissions from modes."""
    try:
        result = subprocess.run(
            argv,
            user=account.switch_uid,
            group=account.switch_gid,
            extra_groups=account.switch_groups,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return False
    return result.returncode == 0


def can_enter(account: Account, folder: Path) -> bool:
    return can_run(account, "/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder))


def get_named_account() -> Account:
    """Return an unprivileged account that has a name.

    Errors: EmbeddedError if root cannot switch to any.
    """
    for name in UNPRIVILEGED_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
        if can_run(account, "/bin/sh", "-c", ":"):
            return account
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and root cannot become the user"
        f" {' or '.join(UNPRIVILEGED_NAMES)} here. Run as an ordinary user, or set DATABASE_URL."
    )
