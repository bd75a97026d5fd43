"""Make .venv hold what a lock file names: `install.py LOCK STAMP`. Any Python from 3.11 on can run it."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

MIN_VERSION = (3, 11)
VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / "unfinished"
PIP_OPTIONS = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes")


def main(lock: Path, stamp: Path) -> None:
    """Install one lock, unless another process has done so while we waited for our turn."""
    check_interpreter()
    take_turn()
    if not stamp.exists():
        make_venv()
        install(lock)
        stamp.touch()


def take_turn() -> None:
    """Hold this folder's lock until we end."""
    folder = os.open(".", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another installation is under way: waiting for it", flush=True)
        fcntl.flock(folder, fcntl.LOCK_EX)


def check_interpreter() -> None:
    if sys.version_info < MIN_VERSION:
        sys.exit(f"Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}.")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        sys.exit(f"{sys.executable} cannot make virtual environments. On Debian or Ubuntu: apt-get install {name}")


def make_venv() -> None:
    """Make .venv if there is none, or anew if an earlier installation broke off or its Python is gone."""
    if UNFINISHED.exists() or not runs(PYTHON):
        shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir(exist_ok=True)
    UNFINISHED.touch()
    if not PYTHON.exists():
        print(f"Making {VENV} with Python {sys.version.split()[0]}", flush=True)
        run(sys.executable, "-m", "venv", str(VENV))


def install(lock: Path) -> None:
    count = sum("==" in line and not line.startswith(("#", " ")) for line in lock.read_text().splitlines())
    print(f"Installing the packages of {lock} ({count} at most) …", flush=True)
    began_at = time.monotonic()
    run(str(PYTHON), "-m", "pip", "install", *PIP_OPTIONS, "-r", str(lock))
    UNFINISHED.unlink()
    print(f"Installed in {time.monotonic() - began_at:.0f} s", flush=True)


def runs(python: Path) -> bool:
    return os.access(python, os.X_OK) and subprocess.run([python, "-c", "import pip"], check=False).returncode == 0  # noqa: S603


def run(*command: str) -> None:
    result = subprocess.run(command, check=False)  # noqa: S603 (the commands above)
    if result.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed; what it said stands above.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
