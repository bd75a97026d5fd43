"""`BaseProvider`: the input and output that every provider type shares; the wire formats lie in its subclasses."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlencode, urlsplit

import orjson
from pydantic import BaseModel, ConfigDict

from llmhub.runtime.large_work import LARGE_BYTES, done_beside
from providers.backends.reply_headers import retry_after_s, upstream_request_id
from providers.backends.reply_stream import MALFORMED, NOT_IN_FORMAT, ReplyStream
from providers.bounds import MAX_REPLY_BYTES, check_answer
from providers.errors import (
    AnswerTooLargeError,
    ConfigurationError,
    MalformedReplyError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
    RequestRejectedError,
    UpstreamError,
)
from providers.faults import named_faults
from providers.http import Charge, HttpCall, HttpClient, HttpReply, free_of_charge
from providers.types import (
    NOTHING,
    ChatRequest,
    ChatResponse,
    Delta,
    Endpoint,
    JSONObject,
    ModelInfo,
    ProbeResult,
    ProviderType,
)
from providers.wire.codec import EncodedRequest, Framing, StreamDecoder
from providers.wire.frames import load_json

logger = logging.getLogger(__name__)

T = TypeVar("T")

MANY_MESSAGES = 2000
MAX_MODEL_PAGES = 100
MAX_MODELS = 10_000
MAX_MODEL_NAME_CHARS = 200
MAX_LISTING_BYTES = 8 * 1024 * 1024
MAX_REFUSAL_BYTES = 256 * 1024
MAX_NAME_PARTS = 6
"""A name with more is that of a hub behind hubs: where they list each other's models, names would grow for ever."""

MAX_MESSAGE_CHARS = 300
MAX_KNOWN_REFUSALS = 256
ACCEPT: Mapping[Framing | None, str] = {
    None: "application/json",
    "sse": "text/event-stream",
    "ndjson": "application/x-ndjson",
}
NoteSent = Callable[[bytes], None]
"""Is given each body right before it is sent."""


class ProviderSettings(BaseModel):
    """The keys that `ProviderConfig.settings` may hold; unknown ones are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCall:
    """One HTTP request to a provider, as data.

    Shape: `path` is appended to the provider's base URL; `dropped_params` are the canonical names of what
    the caller asked for and this provider cannot take.
    """

    path: str
    method: Literal["GET", "POST"] = "POST"
    json: JSONObject | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default=NOTHING, repr=False)
    query: Mapping[str, str] = NOTHING
    dropped_params: tuple[str, ...] = ()

    @property
    def encoded(self) -> EncodedRequest:
        return EncodedRequest(self.json or {}, self.dropped_params)

    def reduced(self, encoded: EncodedRequest | None) -> WireCall | None:
        """Return this call with another body, None for none."""
        return replace(self, json=encoded.body, dropped_params=encoded.dropped_params) if encoded else None


class BaseProvider(ABC):
    """One configured endpoint, spoken to in its own wire format.

    The abstract methods are pure: value types in, wire data out, or the reverse. Everything that touches
    the network is here, once.
    """

    provider_type: ClassVar[ProviderType]
    default_base_url: ClassVar[str] = ""
    needs_api_key: ClassVar[bool] = True
    api_key_hint: ClassVar[str] = ""
    """Where a key comes from and how it begins, as HTML for the provider's form."""
    price_list: ClassVar[str] = ""
    """The provider's name in genai-prices, empty where it has no list prices."""
    otel_name: ClassVar[str] = ""
    """The type in the words of OpenTelemetry's conventions, where these are not the hub's."""
    settings_model: ClassVar[type[ProviderSettings]] = ProviderSettings

    def __init__(self, endpoint: Endpoint, client: HttpClient) -> None:
        self.endpoint = endpoint
        self._client = client
        self.settings = self.settings_model.model_validate(dict(endpoint.settings))
        self._refusals: dict[str, ProviderError] = {}

    async def chat(
        self, request: ChatRequest, *, note_sent: NoteSent | None = None, charge: Charge = free_of_charge
    ) -> ChatResponse:
        """Return the whole answer. Shape: `charge` is told of what is held of it meanwhile.

        Errors: any ProviderError.
        """
        with self._own_errors():
            call, reply = await self._open_chat(request, framing=None, note_sent=note_sent)
            response = await self._read(reply, self.read_reply, charge=charge)
            check_answer(response)
            return replace(response, dropped_params=call.dropped_params) if call.dropped_params else response

    async def stream_chat(self, request: ChatRequest) -> AsyncGenerator[Delta]:
        """Yield the answer as it comes; closing the generator closes the connection."""
        async with await self.open_stream(request) as stream:
            while deltas := await self.next_of(stream):
                for delta in deltas:
                    yield delta

    async def open_stream(self, request: ChatRequest, *, note_sent: NoteSent | None = None) -> ReplyStream:
        """Ask for a streamed answer, and return it as soon as the provider agrees to give one.

        Errors: any ProviderError.
        """
        with self._own_errors():
            decoder = self.stream_decoder()
            call, reply = await self._open_chat(request, framing=decoder.framing, note_sent=note_sent)
            owner = f"provider {self.endpoint.name}"
            return ReplyStream(reply, decoder, owner=owner, dropped_params=call.dropped_params)

    async def next_of(self, stream: ReplyStream) -> Sequence[Delta]:
        """Return what came next of a stream of this provider; empty at the end.

        Errors: as `ReplyStream.next`, with the provider's name.
        """
        try:
            return await stream.next()
        except Exception:
            with self._own_errors():
                raise

    async def list_models(self) -> list[ModelInfo]:
        """Return every model the provider lists, over all its pages."""
        found: list[ModelInfo] = []
        asked: set[str | None] = set()
        cursor: str | None = None
        with self._own_errors():
            while cursor not in asked and len(asked) < MAX_MODEL_PAGES:
                asked.add(cursor)
                reply = await self._open(self.models_call(cursor))
                models, cursor = await self._read(reply, self.read_models, max_bytes=MAX_LISTING_BYTES)
                found += [model for model in models if model.name.count("/") < MAX_NAME_PARTS]
                if len(found) > MAX_MODELS:
                    raise AnswerTooLargeError(f"The provider lists more than {MAX_MODELS} models.")
        return found

    def models_in(self, items: Iterable[Any], read: Callable[[JSONObject], ModelInfo | None]) -> list[ModelInfo]:
        """Translate the entries of a model list; `read` returns None for one of no use.

        One that cannot be read costs no other: the log tells how many there are.
        Errors: MalformedReplyError if none can be read.
        """
        found: list[ModelInfo] = []
        odd = 0
        for item in items:
            try:
                model = read(item)
            except (*MALFORMED, MalformedReplyError):
                odd += 1
                continue
            if model is not None and len(model.name) <= MAX_MODEL_NAME_CHARS and "\x00" not in model.name:
                found.append(model)
        if odd:
            logger.warning("Provider %s lists %d models in a way that cannot be read.", self.endpoint.name, odd)
            if not found:
                raise MalformedReplyError(NOT_IN_FORMAT)
        return found

    async def health_check(self) -> ProbeResult:
        """Probe the provider at no cost in tokens. Never raises a ProviderError."""
        started_s = time.monotonic()
        error = ""
        try:
            with self._own_errors():
                await self._read_probe(await self._open(self.probe_call()))
        except ProviderError as exc:
            error = "" if self.is_sound_refusal(exc) else exc.message
        latency_ms = round((time.monotonic() - started_s) * 1000)
        return ProbeResult(ok=not error, latency_ms=latency_ms, error=error)

    async def _read_probe(self, reply: HttpReply) -> None:
        """Read what a probe is answered: a JSON object, as what else answers 200 may be another server's page."""
        await self._read(reply, _as_it_is, max_bytes=MAX_LISTING_BYTES)

    async def close(self) -> None:
        """Let go of what belongs to this provider alone; the shared client stays open."""
        self._refusals.clear()

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Name this provider in its errors, faults of the hub among them, and take its key out of them."""
        try:
            with named_faults(self.endpoint.name):
                yield
        except ProviderError as error:
            error.provider = error.provider or self.endpoint.name
            error.message = self._presentable(error.message) or "The provider gave no reason."
            error.args = (error.message,)
            error.code = self._presentable(error.code)
            error.param = self._presentable(error.param)
            error.upstream_request_id = self._presentable(error.upstream_request_id)
            raise

    def _presentable(self, text: str | None) -> str | None:
        if text and self.endpoint.api_key:
            text = text.replace(self.endpoint.api_key, "[key]")
        return text if text is None or len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"

    async def _open_chat(
        self, request: ChatRequest, *, framing: Framing | None, note_sent: NoteSent | None
    ) -> tuple[WireCall, HttpReply]:
        """Send a chat; once more, without what the provider refused, where `without_refused` knows how."""
        call = await self._chat_call(request, stream=framing is not None)
        known_refusal = self._refusals.get(request.model_name)
        if known_refusal is not None:
            call = self.without_refused(call, known_refusal) or call
        send = partial(
            self._send,
            framing=framing,
            via=request.via,
            note_sent=note_sent,
            large_bytes=request.size_bytes if request.size_bytes > LARGE_BYTES else 0,
        )
        reply = await send(call)
        if reply.status < 300:
            return call, reply
        error = await self._refusal(reply)
        reduced = self.without_refused(call, error) if known_refusal is None else None
        if reduced is None:
            raise error
        reply = await self._accepted(await send(reduced))
        if len(self._refusals) < MAX_KNOWN_REFUSALS:
            self._refusals[request.model_name] = error
        return reduced, reply

    async def _chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """Translate a request; one of very many messages beside the loop, so that it serves others meanwhile."""
        translate = partial(self.chat_call, request, stream=stream)
        if len(request.messages) <= MANY_MESSAGES:
            return translate()
        return await self._beside(translate, size_bytes=request.size_bytes or LARGE_BYTES)

    async def _open(self, call: WireCall) -> HttpReply:
        return await self._accepted(await self._send(call, framing=None))

    async def _accepted(self, reply: HttpReply) -> HttpReply:
        if reply.status >= 300:
            raise await self._refusal(reply)
        return reply

    async def _send(
        self,
        call: WireCall,
        *,
        framing: Framing | None,
        via: tuple[str, ...] = (),
        note_sent: NoteSent | None = None,
        large_bytes: int = 0,
    ) -> HttpReply:
        headers = {"accept": ACCEPT[framing], **self._checked_auth_headers(), **call.headers}
        content = None
        if call.json is not None:
            headers["content-type"] = "application/json"
            encode = partial(_encode_and_note, call.json, note_sent)
            content = await self._beside(encode, size_bytes=large_bytes) if large_bytes else encode()
        url = f"{self.endpoint.base_url.rstrip('/')}/{call.path.lstrip('/')}"
        if call.query:
            url = f"{url}?{urlencode(call.query)}"
        timeouts = self.endpoint.timeouts
        return await self._client.send(
            HttpCall(method=call.method, url=url, timeouts=timeouts, headers=headers, content=content, via=via)
        )

    def _checked_auth_headers(self) -> dict[str, str]:
        key = self.endpoint.api_key
        if self.needs_api_key and not key:
            raise ConfigurationError("This provider needs an API key and has none.")
        if not (key.isascii() and key.isprintable()):
            raise ConfigurationError("The API key holds characters that no key has.")
        return self.auth_headers()

    async def _read(
        self,
        reply: HttpReply,
        translate: Callable[[JSONObject], T],
        *,
        max_bytes: int = MAX_REPLY_BYTES,
        charge: Charge = free_of_charge,
    ) -> T:
        """Read a reply and translate it; a large one in a thread, so that the loop serves others meanwhile."""
        async with reply:
            content = await reply.read(max_bytes=max_bytes, charge=charge)
        if len(content) <= LARGE_BYTES:
            return self._translated(reply, content, translate)
        return await self._beside(partial(self._translated, reply, content, translate), size_bytes=len(content))

    async def _beside(self, work: Callable[[], T], *, size_bytes: int) -> T:
        return await done_beside(f"provider {self.endpoint.name}", work, size_bytes=size_bytes)

    def _translated(self, reply: HttpReply, content: bytes, translate: Callable[[JSONObject], T]) -> T:
        body = _unwrapped(load_json(content))
        if not isinstance(body, dict):
            raise MalformedReplyError("The provider's reply is not a JSON object.")
        if body.get("error") or body.get("object") == "error":
            raise self._classified(reply, body)
        with _malformed_reply():
            return translate(body)

    async def _refusal(self, reply: HttpReply) -> ProviderError:
        """Return the error that a reply other than 2xx stands for."""
        async with reply:
            if reply.status < 400:
                return _redirect_error(reply)
            try:
                content = await reply.read(max_bytes=MAX_REFUSAL_BYTES)
            except ProviderError:  # the status says enough
                content = b""
        try:
            body = load_json(content)
        except MalformedReplyError:
            body = content.decode(errors="replace")
        return self._classified(reply, body)

    def _classified(self, reply: HttpReply, body: Any) -> ProviderError:
        """Let the wire format read an error; add what the headers of every provider tell alike."""
        try:
            error = self.read_error(reply.status, body)
        except MALFORMED:
            error = self.read_error(reply.status, "")
        headers = {"date": formatdate(usegmt=True), **reply.headers}
        if error.retry_after_s is None and isinstance(error, RateLimitedError | OverloadedError | UpstreamError):
            error.retry_after_s = retry_after_s(headers)
        error.upstream_status = error.upstream_status or reply.status
        error.upstream_request_id = error.upstream_request_id or upstream_request_id(headers)
        return error

    @abstractmethod
    def auth_headers(self) -> dict[str, str]:
        """The headers that carry the key."""

    @abstractmethod
    def chat_call(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """Translate a request."""

    @abstractmethod
    def read_reply(self, body: JSONObject) -> ChatResponse:
        """Translate a whole answer.

        Errors: MalformedReplyError, or the error that the body reports.
        """

    @abstractmethod
    def stream_decoder(self) -> StreamDecoder:
        """Return a decoder for one streamed answer."""

    @abstractmethod
    def models_call(self, cursor: str | None) -> WireCall:
        """Ask for one page of the model list; `cursor` is None for the first."""

    @abstractmethod
    def read_models(self, body: JSONObject) -> tuple[list[ModelInfo], str | None]:
        """Translate one page of the model list, with the cursor of the next."""

    @abstractmethod
    def probe_call(self) -> WireCall:
        """The cheapest call that proves address and key, and costs no tokens."""

    def is_sound_refusal(self, _error: ProviderError) -> bool:
        """Whether a probe that is refused so shows a provider that works all the same."""
        return False

    @abstractmethod
    def read_error(self, status: int, body: Any) -> ProviderError:
        """Classify a refusal.

        Shape: `body` is the decoded JSON, or the text where it was none.
        """

    def without_refused(self, call: WireCall, error: ProviderError) -> WireCall | None:
        """Return the call to try once more after `error`, or None: for parameters that only some servers take."""
        return None


@contextmanager
def _malformed_reply() -> Iterator[None]:
    try:
        yield
    except MALFORMED:  # whose texts may quote the reply
        raise MalformedReplyError(NOT_IN_FORMAT) from None


def _redirect_error(reply: HttpReply) -> ConfigurationError:
    try:
        host = urlsplit(reply.headers.get("location", "")).hostname or "another path of the same host"
    except ValueError:
        host = "what is not a URL"
    return ConfigurationError(
        f"The base URL redirects to {host}; redirects are not followed.", upstream_status=reply.status
    )


def _unwrapped(body: Any) -> Any:
    """Return the object in a list of one, in which some gateways wrap errors; a bare list of models in an object."""
    if not isinstance(body, list):
        return body
    return body[0] if len(body) == 1 else {"data": body}


def _as_it_is(body: JSONObject) -> JSONObject:
    return body


def _encode_and_note(body: JSONObject, note_sent: NoteSent | None) -> bytes:
    content = _encode(body)
    if note_sent is not None:
        note_sent(content)
    return content


def _encode(body: JSONObject) -> bytes:
    try:
        return orjson.dumps(body, default=_plain)
    except orjson.JSONEncodeError as exc:
        raise RequestRejectedError("The request holds a value that JSON cannot express.") from exc


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError
