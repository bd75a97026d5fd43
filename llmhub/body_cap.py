"""The bound on bodies of everything that is not a chat, kept before Django spools them to disk."""

from __future__ import annotations

from django.http import JsonResponse

from llmhub.access.errors import error_body
from llmhub.handlers import Application, Message, Receive, Scope, Send, declared_bytes, send_whole


class BodyCap:
    """An ASGI application that hands bodies of at most so many bytes to another, and answers 413 to larger ones."""

    def __init__(self, application: Application, *, max_body_bytes: int) -> None:
        self._application = application
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if declared_bytes(scope) > self._max_body_bytes:
            await self._refuse(send)
            return
        size_bytes = 0

        async def receive_counted() -> Message:
            nonlocal size_bytes
            message = await receive()
            size_bytes += len(message.get("body", b""))
            if size_bytes <= self._max_body_bytes:
                return message
            await self._refuse(send)
            return {"type": "http.disconnect"}

        await self._application(scope, receive_counted, send)

    async def _refuse(self, send: Send) -> None:
        message = f"The body is larger than {self._max_body_bytes} bytes."
        body = error_body(message, type_="invalid_request_error", code="request_too_large")
        await send_whole(JsonResponse(body, status=413), send)
