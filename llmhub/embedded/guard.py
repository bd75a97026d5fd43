"""End the process groups of a killed parent: a separate process, which reads the groups from standard input.

It survives a SIGKILL of its parent, and acts at the end of its input. It holds its inherited lock until every group is
gone. Imports only the standard library, and nothing of this project.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

GRACE_S = 8.0
POLL_S = 0.05


def read_groups(lines: Iterable[str]) -> dict[int, int]:
    """Process `watch GROUP SIGNAL` and `forget GROUP` until the input ends; return the watched groups."""
    groups: dict[int, int] = {}
    for line in lines:
        match line.split():
            case ["watch", group, stop_signal]:
                groups[int(group)] = int(stop_signal)
            case ["forget", group]:
                groups.pop(int(group), None)
    return groups


def end_groups(groups: dict[int, int], *, grace_s: float = GRACE_S) -> None:
    """Send each group its stop signal, then SIGKILL after the grace period."""
    for group, stop_signal in groups.items():
        _send(group, stop_signal)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and any(is_alive(group) for group in groups):
        time.sleep(POLL_S)
    for group in groups:
        _send(group, signal.SIGKILL)


def is_alive(group: int) -> bool:
    """Whether a group still runs; zombies that init has not reaped do not count."""
    if not _send(group, 0):
        return False
    stats = [_read(path) for path in Path("/proc").glob("[0-9]*/stat")]
    states = [stat.rpartition(")")[2].split() for stat in stats if stat]
    return not states or any(state[0] not in "ZX" for state in states if int(state[2]) == group)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _send(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_groups(read_groups(sys.stdin))


if __name__ == "__main__":
    main()
