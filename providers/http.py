"""HTTP to providers: connections, timeouts, address checks, limits on replies, and what failures mean."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from ipaddress import ip_address
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from providers.addresses import AddressPolicy
from providers.bounds import MAX_REPLY_BYTES
from providers.errors import (
    AnswerTooLargeError,
    ConfigurationError,
    MalformedReplyError,
    ProviderError,
    ProviderTimeoutError,
    UnreachableError,
    UpstreamError,
)
from providers.types import NOTHING, Timeouts

MAX_STREAM_BYTES = 128 * 1024 * 1024
"""On the wire, where each token of a stream may come in a frame of some hundred bytes."""

PIECE_BYTES = 1024 * 1024
STEP_BYTES = 256 * 1024
"""What is held of a reply is charged in steps of this size: small ones cost nothing."""

MAX_CONNECTIONS = 4096
MAX_HEADER_BYTES = 64 * 1024
KEEP_ALIVE_S = 30.0
MAX_KNOWN_URLS = 4096
DRAIN_S = 0.25
HEADERS = {"accept-encoding": "identity", "user-agent": "llmhub"}

Failure = tuple[type[ProviderError], str]
Charge = Callable[[int], None]
"""Is told of so many bytes more that are held, or below zero less; raises where there is no room for them."""


def free_of_charge(_size_bytes: int) -> None:
    pass


# Shape: {host}, {peer}, {connect_s} and {read_s} are of the call, {reason} of the exception.
FAILURES: Mapping[type[BaseException], Failure] = {
    aiohttp.ClientConnectorDNSError: (UnreachableError, "DNS name not found: {host}"),
    aiohttp.ClientConnectorCertificateError: (UnreachableError, "TLS certificate not valid: {reason}"),
    aiohttp.ClientConnectorSSLError: (UnreachableError, "TLS handshake with {peer} failed: {reason}"),
    aiohttp.ClientSSLError: (UnreachableError, "TLS handshake with {peer} failed: {reason}"),
    aiohttp.ServerFingerprintMismatch: (UnreachableError, "TLS certificate not valid: {peer}"),
    aiohttp.ClientConnectorError: (UnreachableError, "no connection to {peer}: {reason}"),
    aiohttp.ClientProxyConnectionError: (UnreachableError, "no connection to the proxy before {peer}: {reason}"),
    aiohttp.ConnectionTimeoutError: (UnreachableError, "no connection to {peer} within {connect_s:g} s"),
    aiohttp.ServerTimeoutError: (ProviderTimeoutError, "no answer from {peer} within {read_s:g} s"),
    aiohttp.SocketTimeoutError: (ProviderTimeoutError, "no answer from {peer} within {read_s:g} s"),
    aiohttp.ServerDisconnectedError: (UpstreamError, "connection closed by {peer}"),
    aiohttp.ServerConnectionError: (UpstreamError, "connection closed by {peer}"),
    aiohttp.ClientConnectionResetError: (UpstreamError, "connection reset by {peer}"),
    aiohttp.ClientOSError: (UpstreamError, "connection to {peer} lost: {reason}"),
    aiohttp.ClientConnectionError: (UpstreamError, "connection to {peer} lost"),
    aiohttp.UploadAbortedError: (UpstreamError, "connection to {peer} lost"),
    aiohttp.ClientPayloadError: (UpstreamError, "connection closed by {peer} in mid-reply"),
    aiohttp.ClientResponseError: (UpstreamError, "{peer} does not answer in HTTP"),
    aiohttp.ClientHttpProxyError: (UnreachableError, "the proxy before {peer} refused"),
    aiohttp.InvalidURL: (ConfigurationError, "the base URL is not valid"),
    aiohttp.NonHttpUrlClientError: (ConfigurationError, "the base URL is not valid"),
    httpx.ConnectTimeout: (UnreachableError, "no connection to {peer} within {connect_s:g} s"),
    httpx.PoolTimeout: (UnreachableError, "no connection to {peer} within {connect_s:g} s"),
    httpx.ConnectError: (UnreachableError, "no connection to {peer}"),
    httpx.ProxyError: (UnreachableError, "the proxy before {peer} refused"),
    httpx.TimeoutException: (ProviderTimeoutError, "no answer from {peer} within {read_s:g} s"),
    httpx.NetworkError: (UpstreamError, "connection to {peer} lost"),
    httpx.ProtocolError: (UpstreamError, "{peer} does not answer in HTTP"),
    httpx.DecodingError: (MalformedReplyError, "the reply of {peer} cannot be decoded"),
    httpx.UnsupportedProtocol: (ConfigurationError, "the base URL is not valid"),
    httpx.InvalidURL: (ConfigurationError, "the base URL is not valid"),
    TimeoutError: (ProviderTimeoutError, "no answer from {peer} within {read_s:g} s"),
    ConnectionRefusedError: (UnreachableError, "connection refused by {peer}"),
    OSError: (UpstreamError, "connection to {peer} lost: {reason}"),
}
FOREIGN = (aiohttp.ClientError, httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError)


@dataclass(slots=True)
class ConnectionWatch:
    """How far the first connection of a client came.

    Units: seconds of the monotonic clock; None: not reached, or not needed, as an address needs no lookup.
    """

    lookup_started_s: float | None = None
    looked_up_s: float | None = None
    started_s: float | None = None
    connected_s: float | None = None

    def tracing(self) -> aiohttp.TraceConfig:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_start.append(self._noting("started_s"))
        tracing.on_dns_resolvehost_start.append(self._noting("lookup_started_s"))
        tracing.on_dns_resolvehost_end.append(self._noting("looked_up_s"))
        tracing.on_connection_create_end.append(self._noting("connected_s"))
        return tracing

    def _noting(self, moment: str) -> Callable[..., Awaitable[None]]:
        async def note(*_: object) -> None:
            if getattr(self, moment) is None:
                setattr(self, moment, time.monotonic())

        return note


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """One request.

    Shape: `headers` by names in lower case; they may carry a key, therefore out of `repr`, as is the content. `via`
    are the hubs that it came through.
    """

    method: str
    url: str
    timeouts: Timeouts
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)
    content: bytes | None = field(default=None, repr=False)
    via: tuple[str, ...] = ()


class _Pieces(httpx.AsyncByteStream):
    """A large body, handed on as fast as the provider takes it: at once, it would hold up the loop."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), PIECE_BYTES):
            yield self._content[start : start + PIECE_BYTES]


class HttpReply:
    """A reply whose head is there and whose body is still to come; to be closed, whether read or not."""

    def __init__(self, response: httpx.Response, call: HttpCall) -> None:
        self.status = response.status_code
        self._response = response
        self._call = call
        self._body = aiter(cast("httpx.AsyncByteStream", response.stream))
        self._is_encoded = response.headers.get("content-encoding", "").strip().lower() not in ("identity", "")
        self._received_bytes = 0

    @property
    def headers(self) -> dict[str, str]:
        """Names in lower case; of a header sent twice, both values joined by a comma."""
        return dict(self._response.headers)

    @property
    def content_type(self) -> str:
        """The media type, without its parameters."""
        value: str = self._response.headers.get("content-type", "")
        return value.partition(";")[0].strip().lower()

    async def read(self, *, max_bytes: int = MAX_REPLY_BYTES, charge: Charge = free_of_charge) -> bytes:
        """Return the whole body.

        Errors: AnswerTooLargeError for more than `max_bytes`, before any of it is read where it says so; what `charge`
        raises.
        """
        if self._declared_bytes > max_bytes:
            raise _too_large("reply", max_bytes)
        body = bytearray()
        charged_bytes = STEP_BYTES
        while piece := await self.next_piece():
            body += piece
            if len(body) > max_bytes:
                raise _too_large("reply", max_bytes)
            while len(body) > charged_bytes:
                charge(STEP_BYTES)
                charged_bytes += STEP_BYTES
        return bytes(body)

    @property
    def _declared_bytes(self) -> int:
        declared = self._response.headers.get("content-length", "")
        return int(declared[:19]) if declared.isascii() and declared.isdigit() else 0

    async def next_piece(self) -> bytes:
        """Return what came next of the body, as it came; empty at its end.

        Errors: MalformedReplyError for a compressed body, which was not asked for; AnswerTooLargeError for more than
        MAX_STREAM_BYTES.
        """
        if self._is_encoded:
            raise MalformedReplyError("The provider compressed its reply, although asked not to.")
        try:
            piece = await anext(self._body, b"")
        except FOREIGN as exc:
            # `from None`, here and below: a foreign exception can hold the request's headers, and the key in them.
            raise provider_error(exc, self._call) from None
        self._received_bytes += len(piece)
        if self._received_bytes > MAX_STREAM_BYTES:
            raise _too_large("stream", MAX_STREAM_BYTES)
        return piece

    async def drain(self) -> None:
        """Read on to the end for a moment: a connection whose reply is read to its end can be used again."""
        try:
            async with asyncio.timeout(DRAIN_S):
                while await self.next_piece():
                    pass
        except (ProviderError, TimeoutError):
            return

    async def aclose(self) -> None:
        """Let go of the connection; closes it unless the body was read to its end."""
        await self._response.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _too_large(what: str, max_bytes: int) -> AnswerTooLargeError:
    return AnswerTooLargeError(f"The provider sent a {what} of more than {max_bytes // 1024 // 1024} MiB.")


class HttpClient:
    """The connections of one event loop to all providers.

    Shape: `mark` is this hub's own among the `via` of what it sends.
    Follows no redirect, keeps no cookie, and takes neither proxies nor keys from the environment: it asks httpx's
    transport itself, without the client around it.
    """

    def __init__(
        self,
        *,
        allowed_private_hosts: Iterable[str] = ("localhost",),
        mark: str = "",
        watch: ConnectionWatch | None = None,
    ) -> None:
        self._mark = mark
        self._policy = AddressPolicy(allowed_private_hosts)
        self._trace_configs = [watch.tracing()] if watch else []
        self._transport = AiohttpTransport(client=self._session, verify=_tls_context())
        self._checked_url = lru_cache(maxsize=MAX_KNOWN_URLS)(self._check_url)

    async def send(self, call: HttpCall) -> HttpReply:
        """Send `call` and return the reply as soon as its head is there.

        Errors: ConfigurationError for a forbidden address, UnreachableError when nothing was sent,
        ProviderTimeoutError, UpstreamError.
        """
        try:
            return HttpReply(await self._send(self._request(call)), call)
        except FOREIGN as exc:
            raise provider_error(exc, call) from None

    async def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._transport.handle_async_request(request)
        except httpx.TransportError as exc:
            if not _is_unsent(exc):
                raise
            return await self._transport.handle_async_request(request)

    def _request(self, call: HttpCall) -> httpx.Request:
        connect_s, read_s = call.timeouts.connect_s, call.timeouts.read_s
        # The transport takes `pool` as the limit of all that comes before the first byte sent, DNS included.
        timeout = {"connect": connect_s, "read": read_s, "write": None, "pool": connect_s}
        headers = {**HEADERS, **call.headers, **self._via(call)}
        url, extensions = self._checked_url(call.url), {"timeout": timeout}
        content = call.content or b""
        if len(content) > PIECE_BYTES:
            headers["content-length"] = str(len(content))
            return httpx.Request(call.method, url, headers=headers, stream=_Pieces(content), extensions=extensions)
        # As a stream, of which aiohttp sets the headers: as `content`, httpx would do so first.
        request = httpx.Request(
            call.method, url, headers=headers, stream=httpx.ByteStream(content), extensions=extensions
        )
        request.read()
        return request

    def _via(self, call: HttpCall) -> dict[str, str]:
        return {"via": ", ".join(f"1.1 {hub}" for hub in (*call.via, self._mark))} if self._mark else {}

    def _check_url(self, url: str) -> httpx.URL:
        """Parse a URL, and check a host written as an address, which is never resolved.

        Errors: ConfigurationError.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise ConfigurationError("The base URL is not valid.") from None
        if fault := self._policy.host_fault(parsed.raw_host.decode("ascii")):
            raise ConfigurationError(fault)
        return parsed

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_GuardedResolver(self._policy),
            limit=MAX_CONNECTIONS,
            keepalive_timeout=KEEP_ALIVE_S,
            ssl=_tls_context(),
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=self._trace_configs,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    async def aclose(self) -> None:
        """Close every connection, those in use too."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _GuardedResolver(AbstractResolver):
    """Resolves names to those of their addresses that may be reached: what is connected to was checked."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Errors: ConfigurationError when none of the addresses may be reached."""
        found = await self._resolver.resolve(host, port, family)
        faults = [self._policy.address_fault(ip_address(result["host"]), host=host) for result in found]
        permitted = [result for result, fault in zip(found, faults, strict=True) if not fault]
        if found and not permitted:
            raise ConfigurationError(f"{host}: {faults[0]}")
        return permitted

    async def close(self) -> None:
        await self._resolver.close()


def provider_error(exc: BaseException, call: HttpCall) -> ProviderError:
    """Return what a foreign exception means, in words that hold no secret."""
    cause = _true_cause(exc)
    kind, words = find_failure(type(cause)) or (UpstreamError, "connection to {peer} lost")
    message = words.format(
        host=urlsplit(call.url).hostname,
        peer=_peer(call.url),
        reason=_reason(cause),
        connect_s=call.timeouts.connect_s,
        read_s=call.timeouts.read_s,
    )
    return kind(message)


def _true_cause(exc: BaseException) -> BaseException:
    """Look behind the transport, which reports refused and dropped connections alike as timeouts."""
    cause = exc.__cause__ if isinstance(exc.__cause__, aiohttp.ClientError) else exc
    if isinstance(cause, aiohttp.ClientConnectorError) and isinstance(cause.os_error, ConnectionRefusedError):
        return cause.os_error
    return cause


def _is_unsent(exc: BaseException) -> bool:
    """Tell whether a kept connection turned out to be closed before the request was written to its end."""
    cause = exc.__cause__
    reset = aiohttp.ClientConnectionResetError
    return isinstance(cause, reset) or (cause is not None and isinstance(cause.__cause__, reset))


def find_failure(exception: type[BaseException]) -> Failure | None:
    return next((FAILURES[base] for base in exception.__mro__ if base in FAILURES), None)


def _peer(url: str) -> str:
    parsed = urlsplit(url)
    default_port = 443 if parsed.scheme == "https" else 80
    host = f"[{parsed.hostname}]" if ":" in (parsed.hostname or "") else parsed.hostname
    return f"{host}:{parsed.port or default_port}"


def _reason(exc: BaseException) -> str:
    certificate = getattr(exc, "certificate_error", None)
    if isinstance(certificate, ssl.SSLCertVerificationError):
        return certificate.verify_message
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    if isinstance(cause, ssl.SSLError):
        return (cause.reason or "no common protocol").lower().replace("_", " ")
    number = cause.errno if isinstance(cause, OSError) else None
    return os.strerror(number).lower() if number else "reason unknown"


@cache
def _tls_context() -> ssl.SSLContext:
    """Trust httpx's authorities, as slim images have none, and this machine's, where companies add their own."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
