"""What an HTTP request for a chat says: who asks, for what, within which bounds."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from django.conf import settings
from django.utils import timezone
from structlog.contextvars import bind_contextvars

from chat.dialects.base import Dialect, ParsedRequest
from chat.gateway.body_room import check_bounds, room_beyond
from chat.gateway.errors import MediaTypeError
from chat.gateway.exchange import Exchange
from chat.gateway.parsing import read_json, refuse_model_fields, refuse_routing_fields
from chat.gateway.recorder import Recorder
from chat.ledger.content import make_content, unread_content
from chat.ledger.events import Caller, RequestSummary
from llmhub.access.keys import presented_keys
from llmhub.access.live_keys import API_KEYS
from llmhub.access.principals import KeyRefusedError, NotPermittedError, Principal, Scope, admit
from llmhub.access.sessions import session_principal
from llmhub.http.client_address import client_address
from llmhub.http.guesses import GUESSES
from llmhub.http.handler import GatewayRequest
from llmhub.runtime.large_work import LARGE_BYTES
from llmhub.runtime.uuid7 import uuid7
from providers.hubs import hubs_before
from providers.types import SAMPLING_PARAMS, ChatRequest
from providers.wire.validation import BadRequestError

NOTHING_READ = unread_content(0)


async def authenticate(request: GatewayRequest) -> Principal:
    """Return who calls, by API key or by the session of a signed-in user. An unknown one may have to wait.

    Errors: KeyRefusedError; CallerGoneError from who does not wait.
    """
    presented = presented_keys(_header(request, "AUTHORIZATION"), _header(request, "X_API_KEY"))
    has_session = not presented and settings.SESSION_COOKIE_NAME in request.COOKIES
    try:
        if has_session:
            return await session_principal(request)
        return admit(presented, API_KEYS.get(), now=timezone.now())
    except KeyRefusedError as refused:
        is_guess = (has_session or presented) and refused.principal is None
        if is_guess and (wait_s := GUESSES.note(client_address(request))):
            await request.unread_body.refuse_after(wait_s)
        raise


def check_may_chat(principal: Principal) -> None:
    """Errors: NotPermittedError without the scope to chat."""
    if Scope.CHAT not in principal.scopes:
        raise NotPermittedError(f"This needs the scope {Scope.CHAT}.", code="missing_scope")


def check_media_type(request: GatewayRequest) -> None:
    """Errors: MediaTypeError."""
    if request.content_type not in ("application/json", ""):
        raise MediaTypeError(f"The body must be application/json, not {request.content_type}.")


def take_in(body: bytes, exchange: Exchange) -> None:
    """Note what is kept of a body.

    Errors: BadRequestError for what is not to be parsed.
    """
    exchange.content = make_content(body)
    check_bounds(body)


def weigh(body: bytes, exchange: Exchange) -> int:
    """Note what is kept of a large body, and return how much more memory than most of its size it takes.

    Errors: as `take_in`.
    """
    take_in(body, exchange)
    return room_beyond(body)


def understand(body: bytes, dialect: Dialect) -> ParsedRequest:
    """Errors: BadRequestError with the field's path."""
    document = read_json(body)
    refuse_routing_fields(document)
    return dialect.read(document)


def check_may_name(principal: Principal, asked: ChatRequest) -> None:
    """Errors: BadRequestError for further models, asked for with a key that is not for all."""
    if principal.allowed_models or principal.allowed_providers:
        refuse_model_fields(asked.extra.fields if asked.extra else {})


def new_exchange(dialect: Dialect, recorder: Recorder) -> Exchange:
    """Return a chat that begins now; what the request logs from now on bears its id."""
    chat_id = uuid7()
    bind_contextvars(request_id=chat_id)
    return Exchange(
        chat_id=chat_id,
        started_s=time.monotonic(),
        dialect=dialect,
        recorder=recorder,
        caller=Caller(),
        summary=RequestSummary(dialect=dialect.name, model_name=""),
        content=NOTHING_READ,
    )


def identify(exchange: Exchange, request: GatewayRequest, principal: Principal) -> None:
    exchange.caller = _caller_of(request, principal)


def _caller_of(request: GatewayRequest, principal: Principal) -> Caller:
    return Caller(
        application=principal.application,
        api_key=principal.api_key,
        actor=principal.actor,
        end_user=_header(request, "X_LLMHUB_USER"),
        conversation=_header(request, "X_LLMHUB_CONVERSATION"),
        address=client_address(request) or None,
    )


def _header(request: GatewayRequest, name: str) -> str | None:
    """Return a header, read as UTF-8 where it is, without building Django's mapping of all of them."""
    value: str | None = request.META.get(f"HTTP_{name}")
    if value is None or value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value


def note_request(exchange: Exchange, request: GatewayRequest, parsed: ParsedRequest) -> None:
    """Note what was asked for, once it is understood.

    Errors: LoopError; BadRequestError.
    """
    asked = parsed.request
    via = _header(request, "VIA")
    size_bytes = exchange.content.size_bytes
    if via or size_bytes > LARGE_BYTES:
        asked = replace(asked, size_bytes=size_bytes, via=hubs_before(via) if via else ())
    exchange.facts.wants_usage = parsed.wants_usage
    exchange.request = asked
    exchange.failover = _header(request, "X_LLMHUB_NO_FALLBACK") != "1"
    exchange.deadline_s = _deadline_s(_header(request, "X_LLMHUB_TIMEOUT_S"))
    exchange.summary = RequestSummary(
        dialect=exchange.summary.dialect,
        provider=parsed.provider,
        model_name=asked.model_name,
        is_stream=asked.is_stream,
        params=sampling_params(asked),
        message_count=len(asked.messages),
        tool_count=len(asked.tools),
    )
    if exchange.caller.end_user is None and asked.user is not None:
        exchange.caller = replace(exchange.caller, end_user=asked.user)


def _deadline_s(header: str | None) -> float:
    if header is None:
        return float(settings.CHAT_DEADLINE_S)
    try:
        seconds = float(header)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise BadRequestError("`x-llmhub-timeout-s` must be a number of seconds above 0.", param="x-llmhub-timeout-s")
    return min(seconds, float(settings.CHAT_DEADLINE_S))


def sampling_params(request: ChatRequest) -> dict[str, object]:
    """The parameters that the ledger names; of others only that they were there, as their values may be content."""
    params: dict[str, object] = {
        name: value for name, value in request.sampling.given().items() if SAMPLING_PARAMS[name].is_recorded
    }
    if request.parallel_tool_calls is not None:
        params["parallel_tool_calls"] = request.parallel_tool_calls
    if request.reasoning is not None and request.reasoning.effort is not None:
        params["reasoning_effort"] = request.reasoning.effort
    if request.extra and request.extra.fields:
        params["others"] = ", ".join(sorted(request.extra.fields))
    return params
