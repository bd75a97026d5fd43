"""The bounds on bodies of everything that is not a chat, kept before Django spools them to disk."""

from __future__ import annotations

import asyncio

from django.http import JsonResponse

from llmhub.access.errors import error_body
from llmhub.handlers import send_whole
from llmhub.request_bodies import BODY_S, Application, Message, Receive, Scope, Send, declared_bytes


class BodyCap:
    """An ASGI application that hands bodies of at most so many bytes to another, and refuses larger and slower ones."""

    def __init__(self, application: Application, *, max_body_bytes: int, body_s: float = BODY_S) -> None:
        self._application = application
        self._max_body_bytes = max_body_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if declared_bytes(scope) > self._max_body_bytes:
            await self._refuse_size(send)
            return
        size_bytes = 0
        is_whole = False
        due_s = asyncio.get_running_loop().time() + self._body_s

        async def receive_bounded() -> Message:
            nonlocal size_bytes, is_whole
            try:
                async with asyncio.timeout_at(None if is_whole else due_s):
                    message = await receive()
            except TimeoutError:
                await self._refuse_slowness(send)
                return {"type": "http.disconnect"}
            is_whole = not message.get("more_body", False)
            size_bytes += len(message.get("body", b""))
            if size_bytes <= self._max_body_bytes:
                return message
            await self._refuse_size(send)
            return {"type": "http.disconnect"}

        await self._application(scope, receive_bounded, send)

    async def _refuse_size(self, send: Send) -> None:
        message = f"The body is larger than {self._max_body_bytes} bytes."
        await _refuse(413, message, code="request_too_large", send=send)

    async def _refuse_slowness(self, send: Send) -> None:
        message = f"The body did not arrive within {self._body_s:g} s."
        await _refuse(408, message, code="request_timeout", send=send)


async def _refuse(status: int, message: str, *, code: str, send: Send) -> None:
    body = error_body(message, type_="invalid_request_error", code=code)
    await send_whole(JsonResponse(body, status=status), send)
