"""The options of `manage.py up`, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmhub.embedded.errors import EmbeddedError

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Options:
    """Shape: `port` 0 means any free one."""

    host: str
    port: int
    home: Path
    web_processes: int
    has_own_postgres: bool
    has_own_redis: bool
    wants_model: bool

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def url(self) -> str:
        return f"http://{self._bracketed_host}:{self.port}"

    @property
    def own_names(self) -> tuple[str, ...]:
        """The default allowed host names."""
        return tuple(sorted({"localhost", "127.0.0.1", "[::1]", self._bracketed_host}))

    @property
    def _bracketed_host(self) -> str:
        host = get_reached_host(self.host)
        return f"[{host}]" if ":" in host else host


def get_reached_host(host: str) -> str:
    """Return the address that reaches a listener from its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (what a caller may have chosen)


def read_options(environment: Mapping[str, str]) -> Options:
    return Options(
        host=environment.get("HOST") or "127.0.0.1",
        port=_read_number(environment, "PORT", default=8000, lowest=0, highest=65_535),
        home=Path(environment.get("LLMHUB_HOME") or ROOT / ".llmhub").absolute(),
        web_processes=_read_number(environment, "WEB_CONCURRENCY", default=1, lowest=1, highest=256),
        has_own_postgres=bool(environment.get("DATABASE_URL")),
        has_own_redis=bool(environment.get("REDIS_URL")),
        wants_model=_read_switch(environment, "LLMHUB_LOCAL_MODEL"),
    )


def _read_number(environment: Mapping[str, str], name: str, *, default: int, lowest: int, highest: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not lowest <= int(text) <= highest:
        raise EmbeddedError(f"{name} is {text!r}: it must be a number from {lowest} to {highest}.")
    return int(text)


def _read_switch(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name) or "1"
    if text not in {"0", "1"}:
        raise EmbeddedError(f"{name} is {text!r}: it must be 0 or 1.")
    return text == "1"
