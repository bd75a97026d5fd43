"""A pytest plugin: a test that would speak to another machine, or ask for its name, fails instead."""

import sys
from ipaddress import ip_address
from typing import Any

HOSTS_ASKED_FOR = ("localhost", "", None)


def refuse_other_machines(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
    else:
        return
    if not is_own(host):
        raise RuntimeError(f"{event}: a test reaches for {host}, which is not this machine.")


def is_own(host: str | None) -> bool:
    if host in HOSTS_ASKED_FOR:
        return True
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return False


sys.addaudithook(refuse_other_machines)
