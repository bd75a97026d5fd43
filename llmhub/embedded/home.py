"""LLMHUB_HOME: the folder of one hub's embedded data, generated secrets and logs, used by one `up` at a time."""

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
    """What the hub cannot run without and a person need not choose; `is_new` on the first start."""

    variables: Mapping[str, str] = field(repr=False)
    is_new: bool


@contextmanager
def open_home(home: Path) -> Iterator[int]:
    """Make the folder if need be and hold its lock; yield the lock's file descriptor.

    Errors: EmbeddedError if another `up` has it, if it belongs to another user, or if it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"{home} cannot be made ({error.strerror}). Name another LLMHUB_HOME.") from error
    if home.stat().st_uid != os.geteuid():
        raise EmbeddedError(
            f"{home} belongs to another user (number {home.stat().st_uid})."
            " Run as that user, or name another LLMHUB_HOME."
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
    """Return every secret: from the environment, else from an earlier start, else made now and kept.

    What the first start made accounts of stays as it was: the accounts do not follow the environment.
    Errors: EmbeddedError for a key or a password that could be guessed, or a key that no request could carry.
    """
    kept = _read_json(home / "secrets.json") | _read_credentials(home)
    made = {
        "LLMHUB_SECRET_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
        "LLMHUB_ADMIN_PASSWORD": secrets.token_urlsafe(15),
        "LLMHUB_DEMO_KEY": f"lh_{secrets.token_urlsafe(32)}",
    }
    chosen = dict(environment) | {name: kept[name] for name in FIRST_SECRETS if name in kept}
    for name in ("LLMHUB_DEMO_KEY", "DJANGO_SECRET_KEY"):
        if not is_strong(chosen.get(name) or made[name]):
            raise EmbeddedError(f"{name} must be {RULE}. Unset, it is made up.")
    if len(chosen.get("LLMHUB_ADMIN_PASSWORD") or made["LLMHUB_ADMIN_PASSWORD"]) < MIN_PASSWORD_CHARS:
        raise EmbeddedError(
            f"LLMHUB_ADMIN_PASSWORD must have at least {MIN_PASSWORD_CHARS} characters. Unset, it is made up."
        )
    variables = {name: chosen.get(name) or kept.get(name) or new for name, new in made.items()}
    generated = {name: value for name, value in variables.items() if name in HUB_SECRETS and not environment.get(name)}
    write_private(home / "secrets.json", json.dumps(_read_json(home / "secrets.json") | generated, indent=2) + "\n")
    return Secrets(variables=variables, is_new="LLMHUB_ADMIN_PASSWORD" not in kept)


def write_credentials(home: Path, url: str, secrets_: Secrets) -> None:
    """Keep what a person or a script needs for a first chat."""
    credentials = {
        "url": url,
        "admin_user": ADMIN_USER,
        "admin_password": secrets_.variables["LLMHUB_ADMIN_PASSWORD"],
        "api_key": secrets_.variables["LLMHUB_DEMO_KEY"],
    }
    write_private(home / "credentials.json", json.dumps(credentials, indent=2) + "\n")


@contextmanager
def runtime_file(home: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Let `manage.py shell` and the like find the running servers, for as long as they run."""
    path = home / "runtime.env"
    write_private(path, "".join(f"{name}='{_escape(value)}'\n" for name, value in variables.items()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once: a reader sees the old text or the new, and nobody else either."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def _read_credentials(home: Path) -> dict[str, str]:
    found = _read_json(home / "credentials.json")
    names = {"LLMHUB_ADMIN_PASSWORD": "admin_password", "LLMHUB_DEMO_KEY": "api_key"}
    return {name: found[key] for name, key in names.items() if key in found}


def _read_json(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise EmbeddedError(f"{path} is not what `up` wrote there. Put it back, or name another LLMHUB_HOME.")
    return found


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _lock(descriptor: int, home: Path) -> None:
    """Take the lock, waiting for what an `up` that was killed left behind, but not for one that runs."""
    deadline = time.monotonic() + LEFTOVERS_TIMEOUT_S
    while not _try_lock(descriptor):
        holder = os.pread(descriptor, 20, 0).decode() or "0"
        if _is_alive(int(holder)) or time.monotonic() > deadline:
            raise EmbeddedError(
                f"The hub in {home} is running already (process {holder})."
                " Stop that one first, or name another LLMHUB_HOME and PORT."
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
