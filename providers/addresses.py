"""Which addresses a provider may have: a pure policy, applied when a URL is saved and to every address connected to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

import idna

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
# Link-local carries the metadata services of most clouds; the others stand alone outside of it.
_NEVER_ALLOWED: tuple[Network, ...] = (
    ip_network("169.254.0.0/16"),
    ip_network("fe80::/10"),
    ip_network("fd00:ec2::254/128"),  # AWS
    ip_network("fd20:ce::254/128"),  # Google Cloud
    ip_network("100.100.100.200/32"),  # Alibaba Cloud
    ip_network("168.63.129.16/32"),  # Azure
    ip_network("192.0.0.192/32"),  # Oracle Cloud
)
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_IPV4_COMPATIBLE = IPv6Network("::/96")
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


class AddressPolicy:
    """Which hosts and addresses may be reached.

    Shape: each allowed private host is a host name, an address or a CIDR range; `localhost` means all of loopback.
    Errors: ValueError for an entry that is none of these.
    """

    def __init__(self, allowed_private_hosts: Iterable[str] = ("localhost",)) -> None:
        self._names: set[str] = set()
        self._networks: list[Network] = []
        for entry in allowed_private_hosts:
            self._allow(entry.strip().lower().rstrip("."))

    def _allow(self, entry: str) -> None:
        if entry == "localhost":
            self._networks.extend(_LOOPBACK)
        elif network := _find_network(entry):
            self._networks.append(network)
        elif _HOST_NAME.fullmatch(entry) and not _ends_in_number(entry):
            self._names.add(entry)
        else:
            raise ValueError(f"not a host name, an address or a CIDR range: {entry!r}")

    def host_fault(self, host: str) -> str:
        """Say why `host`, as it stands in a URL, may not be reached; empty when that is for its addresses to decide."""
        name = host.lower().removesuffix(".")
        if ":" not in name and not _ends_in_number(name):
            return "" if _is_host_name(name) else f"{host!r} is not a host name."
        try:
            address = ip_address(host)
        except ValueError:
            return f"{host!r} is not an address in its usual form."
        return self.address_fault(address, host=host)

    def address_fault(self, address: Address, *, host: str) -> str:
        """Say why `address`, which `host` stands for, may not be reached; empty when it may."""
        forms = _all_forms(address)
        ends = (*forms, *_tunnelled(address))
        if any(end in network for end in ends for network in _NEVER_ALLOWED):
            return f"{address} is a link-local or cloud metadata address, which is never allowed."
        if all(_is_public(form) for form in forms) or self._is_allowed(forms[-1], host=host):
            return ""
        return f"{address} is a private or reserved address and not among LLMHUB_ALLOWED_PRIVATE_HOSTS."

    def _is_allowed(self, address: Address, *, host: str) -> bool:
        named = host.lower().removesuffix(".") in self._names
        return named or any(address in network for network in self._networks)


def url_fault(url: str, *, allowed: Iterable[str]) -> str:
    """Say why `url` cannot be a provider's base URL; empty when it can. Resolves no names.

    Shape: `allowed` as the allowed private hosts of AddressPolicy.
    """
    fault = _form_fault(url)
    return fault or AddressPolicy(allowed).host_fault(urlsplit(url).hostname or "")


def origin_of(url: str) -> str:
    """Return scheme, host and port of a base URL, in lower case and without a default port.

    Errors: ValueError for what cannot be a base URL.
    """
    if fault := _form_fault(url):
        raise ValueError(fault)
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def _form_fault(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return "This is not a URL."
    faults = {
        "The URL contains a space or a control character.": not url.isprintable() or " " in url,
        "The URL must start with http:// or https://.": parts.scheme not in {"http", "https"},
        "The URL must not contain a user name or a password.": "@" in parts.netloc,
        "The URL names no host.": not host,
        "The URL must not have a query or a fragment.": "?" in url or "#" in url,
    }
    return next((fault for fault, applies in faults.items() if applies), "")


def _find_network(entry: str) -> Network | None:
    try:
        return ip_network(entry.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        return None


def _is_host_name(name: str) -> bool:
    """Tell whether `name` can be looked up; a label that says it is international must be one that can be read."""
    if not _HOST_NAME.fullmatch(name):
        return False
    try:
        for label in name.split("."):
            if label.startswith("xn--"):
                idna.decode(label)
    except UnicodeError:
        return False
    return True


def _ends_in_number(name: str) -> bool:
    """Tell whether resolvers may read `name` as an IPv4 address: decimal, octal, hexadecimal or shortened."""
    return _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]) is not None


def _all_forms(address: Address) -> tuple[Address, ...]:
    """Return the addresses that a packet to `address` may end at, an embedded IPv4 address last."""
    if isinstance(address, IPv4Address):
        return (address,)
    bare = IPv6Address(int(address))  # without a scope
    tail = IPv4Address(int(bare) & 0xFFFF_FFFF)
    if bare.ipv4_mapped or bare in _NAT64:
        return (tail,)
    if bare.sixtofour:
        return (bare, bare.sixtofour)
    return (bare, tail) if bare in _IPV4_COMPATIBLE and int(tail) > 0xFFFF else (bare,)  # :: and ::1 embed nothing


def _tunnelled(address: Address) -> tuple[Address, ...]:
    """Return the IPv4 addresses behind IPv6 ones that only an allowed range lets through."""
    if isinstance(address, IPv4Address):
        return ()
    bare = IPv6Address(int(address))
    tail = IPv4Address(int(bare) & 0xFFFF_FFFF)
    if bare in _LOCAL_NAT64:  # the last bits, or around the byte after the prefix: RFC 6052
        return tail, IPv4Address((int(bare) >> 48 & 0xFFFF_0000) | (int(bare) >> 40 & 0xFFFF))
    return (tail,) if bare in _TRANSLATED else bare.teredo or ()


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
