"""Who owns and runs the embedded PostgreSQL, which refuses to run as root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from llmhub.embedded.errors import EmbeddedError

UNPRIVILEGED_NAMES = ("nobody", "daemon")


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
        """What subprocess takes as `user`; None leaves a child as we are."""
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
    """Return the own account, or for root an unprivileged one that every system has."""
    own = get_own_account()
    return _get_unprivileged_account() if own.uid == 0 else own


def can_run(account: Account, *argv: str) -> bool:
    """Try a harmless command as this account: permissions are not guessed from modes."""
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
    except PermissionError:
        return False
    return result.returncode == 0


def can_enter(account: Account, folder: Path) -> bool:
    return can_run(account, "/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder))


def _get_unprivileged_account() -> Account:
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
