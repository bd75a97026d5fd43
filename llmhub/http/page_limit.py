"""Limit concurrent requests to Django's pages: each needs a thread, and most a database connection."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.http import JsonResponse

from llmhub.http.error_envelope import error_body
from llmhub.http.handler import send_whole
from llmhub.http.places import NoPlaceError, Place, Places
from llmhub.http.request_bodies import Application, Message, Receive, Scope, Send
from llmhub.runtime.database import release_connections

AT_WORK = 16
"""Threads share the interpreter with the chats: more would be no faster, and would delay chats."""

REQUESTS = 512
WAIT_S = 10.0
RETRY_S = 5


class PageLimit:
    """An ASGI middleware that bounds concurrent requests, counted once their bodies have arrived."""

    def __init__(
        self, application: Application, *, at_work: int = AT_WORK, requests: int = REQUESTS, wait_s: float = WAIT_S
    ) -> None:
        self._application = application
        self._places = Places(at_work=at_work, requests=requests, wait_s=wait_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place: Place | None = None

        async def receive_when_admitted() -> Message:
            nonlocal place
            message = await receive()
            if place is None and message["type"] == "http.request" and not message.get("more_body", False):
                try:
                    place = await self._places.take()
                except NoPlaceError:
                    await _refuse(send)
                    return {"type": "http.disconnect"}
            return message

        async def release_place_and_send(message: Message) -> None:
            if place is not None:
                place.leave()  # only the caller's reading is left, however slow
            await send(message)

        try:
            await self._application(scope, receive_when_admitted, release_place_and_send)
        finally:
            if place is not None:
                self._places.end(place)


def release_connections_before_send(application: Application) -> Application:
    """Wrap an application so that a slow reader holds no database connection."""

    async def application_releasing(scope: Scope, receive: Receive, send: Send) -> None:
        async def release_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await sync_to_async(release_connections)()  # in the request's thread, which owns the connection
            await send(message)

        await application(scope, receive, release_and_send)

    return application_releasing


async def _refuse(send: Send) -> None:
    body = error_body("Too many requests to the hub's pages are under way.", type_="server_error", code="busy")
    await send_whole(JsonResponse(body, status=503, headers={"retry-after": str(RETRY_S)}), send)
