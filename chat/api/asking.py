"""What an HTTP request for a chat says: who asks, for what, within which bounds."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.utils import timezone
from structlog.contextvars import bind_contextvars

from chat.api.dialects import Dialect, ParsedRequest
from chat.api.reading import BadRequestError, read_json, refuse_model_fields, refuse_routing_fields
from chat.ids import uuid7
from chat.ledger.content import Content, make_content
from chat.ledger.events import Asked, Caller
from chat.pipeline import ChatCall
from llmhub.access.addresses import client_address
from llmhub.access.keys import presented_key
from llmhub.access.principals import Principal, Scope, admit
from llmhub.access.sessions import session_principal
from providers.manager import ProviderManager
from providers.routing import NotPermittedError
from providers.types import ChatRequest

UNREAD = make_content(b"")
"""What stands for a body until it is known who sent it."""

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "n",
    "parallel_tool_calls",
    "reasoning_effort",
)


LARGE_BODY_BYTES = 256 * 1024

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BodyFault:
    """Why a body was not read. Units: `size_bytes` as declared, or as far as it was read."""

    status: int
    message: str
    size_bytes: int


class BodyTooLargeError(Exception):
    pass


class BodyTooSlowError(Exception):
    pass


class MediaTypeError(Exception):
    pass


async def authenticate(request: ASGIRequest, manager: ProviderManager) -> Principal:
    """Return who calls, by API key or by the session of a signed-in user.

    Errors: KeyRefusedError.
    """
    key = presented_key(_header(request, "AUTHORIZATION"), _header(request, "X_API_KEY"))
    if key is None and settings.SESSION_COOKIE_NAME in request.COOKIES:
        return await session_principal(request)
    return admit(key, manager.registry.snapshot().keys, now=timezone.now())


async def off_loop(request: ASGIRequest, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what takes long for a large body in a thread: meanwhile the loop serves others."""
    if len(request.body) <= LARGE_BODY_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def check_may_chat(principal: Principal) -> None:
    """Errors: NotPermittedError without the scope to chat."""
    if Scope.CHAT not in principal.scopes:
        raise NotPermittedError(f"This needs the scope {Scope.CHAT}.", code="missing_scope")


def read_request(request: ASGIRequest, dialect: Dialect) -> ParsedRequest:
    """Errors: BodyTooLargeError, BodyTooSlowError, MediaTypeError, BadRequestError with the field's path."""
    fault: BodyFault | None = request.body_fault  # type: ignore[attr-defined]  # set by the handler
    if fault is not None:
        raise (BodyTooLargeError if fault.status == 413 else BodyTooSlowError)(fault.message)
    if request.content_type not in ("application/json", ""):
        raise MediaTypeError(f"The body must be application/json, not {request.content_type}.")
    body = read_json(request.body)
    refuse_routing_fields(body)
    return dialect.read(body)


def check_may_name(principal: Principal, asked: ChatRequest) -> None:
    """Errors: BadRequestError for further models, asked for with a key that is not for all."""
    if principal.allowed_models or principal.allowed_providers:
        refuse_model_fields(asked.extra)


def new_call(dialect: Dialect) -> ChatCall:
    """Return a chat that begins now; what the request logs from now on bears its id."""
    chat_id = uuid7()
    bind_contextvars(request_id=chat_id)
    return ChatCall(
        chat_id=chat_id,
        started_s=time.monotonic(),
        caller=Caller(),
        asked=Asked(dialect=dialect.name, model_name=""),
        content=UNREAD,
    )


def identify(call: ChatCall, request: ASGIRequest, principal: Principal) -> None:
    """Note who calls and what came; what comes from nobody known is not worth the work."""
    call.caller = _caller_of(request, principal)
    call.content = _content(request)


def _content(request: ASGIRequest) -> Content:
    """What is kept of the body; of one that was not read, its size."""
    content = make_content(request.body)
    fault: BodyFault | None = request.body_fault  # type: ignore[attr-defined]  # set by the handler
    return replace(content, size_bytes=fault.size_bytes) if fault else content


def _caller_of(request: ASGIRequest, principal: Principal) -> Caller:
    return Caller(
        application=principal.application,
        api_key=principal.api_key,
        actor=principal.actor,
        end_user=_header(request, "X_LLMHUB_USER"),
        conversation=_header(request, "X_LLMHUB_CONVERSATION"),
        address=client_address(request) or None,
    )


def _header(request: ASGIRequest, name: str) -> str | None:
    """Return a header without building Django's mapping of all of them."""
    value: str | None = request.META.get(f"HTTP_{name}")
    return value


def note_asked(call: ChatCall, request: ASGIRequest, parsed: ParsedRequest) -> None:
    """Note what was asked for, once it is understood."""
    asked = parsed.request
    call.request = asked
    call.failover = _header(request, "X_LLMHUB_NO_FALLBACK") != "1"
    call.deadline_s = _deadline_s(_header(request, "X_LLMHUB_TIMEOUT_S"))
    call.asked = Asked(
        dialect=call.asked.dialect,
        provider=parsed.provider,
        model_name=asked.model_name,
        is_stream=parsed.is_stream,
        params=sampling_params(asked),
        message_count=len(asked.messages),
        tool_count=len(asked.tools),
    )
    if call.caller.end_user is None and asked.user is not None:
        call.caller = replace(call.caller, end_user=asked.user)


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
    found = {name: value for name in SAMPLING if (value := getattr(request, name)) is not None}
    if request.extra:
        found["others"] = ", ".join(sorted(request.extra))
    return found
