"""Find free TCP ports, and probe servers."""

import errno
import http.client
import socket

from llmhub.embedded.errors import EmbeddedError

LOOPBACK = "127.0.0.1"


def get_free_port(host: str, port: int) -> int:
    """Return the port, or any free one for 0.

    Errors: EmbeddedError for the user who chose HOST and PORT, if it is not available.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            return int(server.getsockname()[1])
    except socket.gaierror:
        raise EmbeddedError(f"HOST is {host!r}, which is no address of this machine.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"Port {port} on {host} is taken by another program. Stop that one, or set PORT to another port."
        else:
            message = f"Port {port} on {host} cannot be used ({error.strerror}). Set PORT or HOST to others."
        raise EmbeddedError(message) from None


def get_loopback_port(preferred: int = 0) -> int:
    """Return the preferred loopback port if free, else any free one."""
    try:
        return get_free_port(LOOPBACK, preferred)
    except EmbeddedError:
        return get_free_port(LOOPBACK, 0)


def is_answering(host: str, port: int, path: str, *, timeout_s: float) -> bool:
    """Whether a GET returns 200."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
