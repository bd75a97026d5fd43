"""LLMHUB_HOME: a hub's embedded data, generated secrets and logs, locked by one `up` at a time."""

import fcntl
import json
import os
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llmhub.access.keys import RULE, is_strong
from llmhub.embedded import guard
from llmhub.embedded.errors import EmbeddedError

ADMIN_USER = "admin"
HUB_SECRETS = ("LLMHUB_SECRET_KEYS", "DJANGO_SECRET_KEY")
FIRST_SECRETS = ("LLMHUB_ADMIN_PASSWORD", "LLMHUB_DEMO_KEY")
MIN_PASSWORD_CHARS = 12
LEFTOVERS_TIMEOUT_S = guard.GRACE_S + 4
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of the hub; `is_new` on the first start."""

    variables: Mapping[str, str] = field(repr=False)
    is_new: bool


@contextmanager
def open_home(home: Path) -> Iterator[int]:
    """Create the folder if missing, and hold its lock; yield the lock's file descriptor.

    Errors: EmbeddedError if another `up` holds it, if another user owns it, or if it cannot be created.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"{home} cannot be created ({error.strerror}). Set another LLMHUB_HOME.") from error
    if home.stat().st_uid != os.geteuid():
        raise EmbeddedError(
            f"{home} belongs to another user (number {home.stat().st_uid})."
            " Run as that user, or set another LLMHUB_HOME."
        )
    descriptor = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, home)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def make_secrets(home: Path, environment: Mapping[str, str]) -> Secrets:
    """Return every secret: from the environment, else from an earlier start, else generated and stored.

    The first start's password and key stay, as the accounts do not follow the environment.
    Errors: EmbeddedError for a weak key or password, or a malformed key.
    """
    stored = _read_json(home / "secrets.json") | _read_credentials(home)
    fresh = {
        "LLMHUB_SECRET_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "LLMHUB_ADMIN_PASSWORD": secrets.token_urlsafe(15),
        "LLMHUB_DEMO_KEY": f"lh_{secrets.token_urlsafe(32)}",
    }
    values = dict(environment) | {name: stored[name] for name in FIRST_SECRETS if name in stored}
    for name in ("LLMHUB_DEMO_KEY", "DJANGO_SECRET_KEY"):
        if not is_strong(values.get(name) or fresh[name]):
            raise EmbeddedError(f"{name} must be {RULE}. If unset, it is generated.")
    if len(values.get("LLMHUB_ADMIN_PASSWORD") or fresh["LLMHUB_ADMIN_PASSWORD"]) < MIN_PASSWORD_CHARS:
        raise EmbeddedError(
            f"LLMHUB_ADMIN_PASSWORD must have at least {MIN_PASSWORD_CHARS} characters. If unset, it is generated."
        )
    variables = {name: values.get(name) or stored.get(name) or new for name, new in fresh.items()}
    generated = {name: value for name, value in variables.items() if name in HUB_SECRETS and not environment.get(name)}
    write_private(home / "secrets.json", json.dumps(_read_json(home / "secrets.json") | generated, indent=2) + "\n")
    return Secrets(variables=variables, is_new="LLMHUB_ADMIN_PASSWORD" not in stored)


def write_credentials(home: Path, url: str, secrets_: Secrets) -> None:
    """Write what a user or a script needs for a first chat."""
    credentials = {
        "url": url,
        "admin_user": ADMIN_USER,
        "admin_password": secrets_.variables["LLMHUB_ADMIN_PASSWORD"],
        "api_key": secrets_.variables["LLMHUB_DEMO_KEY"],
    }
    write_private(home / "credentials.json", json.dumps(credentials, indent=2) + "\n")


@contextmanager
def runtime_file(home: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Write runtime.env while the servers run, so that `manage.py` commands find them."""
    path = home / "runtime.env"
    write_private(path, "".join(f"{name}='{_escape(value)}'\n" for name, value in variables.items()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically, readable only by its owner."""
    temporary = path.with_name(f"{path.name}.unfinished")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _read_credentials(home: Path) -> dict[str, str]:
    credentials = _read_json(home / "credentials.json")
    names = {"LLMHUB_ADMIN_PASSWORD": "admin_password", "LLMHUB_DEMO_KEY": "api_key"}
    return {name: credentials[key] for name, key in names.items() if key in credentials}


def _read_json(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise EmbeddedError(f"{path} was changed and is no longer valid. Restore it, or set another LLMHUB_HOME.")
    return content


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _lock(descriptor: int, home: Path) -> None:
    """Take the lock; wait for leftovers of a killed `up`, but not for a running one."""
    deadline_s = time.monotonic() + LEFTOVERS_TIMEOUT_S
    while not _try_lock(descriptor):
        holder = os.pread(descriptor, 20, 0).decode() or "0"
        if _is_alive(int(holder)) or time.monotonic() > deadline_s:
            raise EmbeddedError(
                f"The hub in {home} is running already (process {holder})."
                " Stop that one first, or set another LLMHUB_HOME and PORT."
            )
        time.sleep(POLL_S)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process_id: int) -> bool:
    if process_id == 0:
        return True
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
