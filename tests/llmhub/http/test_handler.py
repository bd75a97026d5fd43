import asyncio
import json
import logging
from types import SimpleNamespace

import pytest
from django.http import HttpResponse, JsonResponse
from django.urls import path

from llmhub.http.event_stream import EventStream
from llmhub.http.handler import GatewayHandler, Interruption
from llmhub.http.request_bodies import CLOSE_AFTER_ANSWER, BodyTooLargeError, BodyTooSlowError
from llmhub.runtime.memory_budget import UNBOUNDED
from providers.wire.rendering import PING

CANARY = b'{"prompt": "canary-of-the-tests"}'
DISCONNECT = {"type": "http.disconnect"}


async def echo(request):
    body = await request.unread_body.read(UNBOUNDED)
    return HttpResponse(body, content_type="text/plain", headers={"X-Request-Id": "a1", "x-name": "Zoë"})


async def fault(request):
    try:
        await request.unread_body.read(UNBOUNDED)
    except (BodyTooLargeError, BodyTooSlowError) as error:
        return JsonResponse({"fault": str(error), "size_bytes": request.unread_body.size_bytes})


async def headers_only(request):
    return JsonResponse({"declared": request.unread_body.size_bytes}, status=401)


async def segment(request, name):
    return JsonResponse({"name": name, "query": request.GET.dict()})


async def fail(request):
    raise RuntimeError("an unforeseen fault")


async def work(request):
    await request.unread_body.read(UNBOUNDED)
    events = request.scope["events"]
    events.begun.set()
    try:
        await events.may_end.wait()
    finally:
        await asyncio.sleep(0)  # a clean-up that takes its time
        events.cleaned_up.set()
    return HttpResponse(b"done")


async def stream(request):
    await request.unread_body.read(UNBOUNDED)
    return EventStream(Source(_frames(request.scope["events"])), {"x-request-id": "a1"}, ping=PING)


async def interruptible(request):
    await request.unread_body.read(UNBOUNDED)
    events = request.scope["events"]

    def interrupt(interruption):
        events.heard.append(interruption)
        events.may_end.set()

    request.client.when_interrupted(interrupt)
    return EventStream(Steps(events), {}, ping=PING)


async def slow_stream(request):
    await request.unread_body.read(UNBOUNDED)
    return EventStream(Source(_slow_frames(request.scope["events"])), {}, ping=PING)


class Source:
    """Frames out of a generator."""

    def __init__(self, frames):
        self._frames = frames

    async def get(self):
        return await anext(self._frames, b"")

    async def aclose(self):
        await self._frames.aclose()


class Steps:
    """Frames of which none is lost to who was cancelled while waiting for it."""

    def __init__(self, events):
        self._events = events
        self._taken = 0

    async def get(self):
        if self._taken == 1:
            await self._events.may_end.wait()
        self._taken += 1
        return (b"", b"data: 1\n\n", b"data: 2\n\n", b"")[self._taken]

    async def aclose(self):
        self._taken = 2


async def _slow_frames(events):
    yield b"data: 1\n\n"
    await events.goes_on.wait()
    yield b"data: 2\n\n"
    await events.may_end.wait()


async def _frames(events):
    try:
        yield b"data: 1\n\n"
        events.begun.set()
        await events.may_end.wait()
        yield b"data: 2\n\n"
        if events.is_broken:
            raise RuntimeError("an unforeseen fault")
    finally:
        events.cleaned_up.set()


urlpatterns = [path(view.__name__, view) for view in (echo, fault, headers_only, fail, work, stream, interruptible)] + [
    path("stream/slow", slow_stream),
    path("segment/<path:name>", segment),
]


class Connection:
    """A connection as the server would hand it over: `receive` and `send`, made by hand."""

    def __init__(self, *messages):
        self.events = SimpleNamespace(
            begun=asyncio.Event(),
            goes_on=asyncio.Event(),
            may_end=asyncio.Event(),
            cleaned_up=asyncio.Event(),
            is_broken=False,
        )
        self.sent = []
        self.has_sent = asyncio.Condition()
        self.takes_more = asyncio.Event()
        self.takes_more.set()
        self._incoming = asyncio.Queue()
        for message in messages:
            self._incoming.put_nowait(message)

    @property
    def unread(self):
        return self._incoming.qsize()

    async def receive(self):
        return await self._incoming.get()

    async def send(self, message):
        async with self.has_sent:
            self.sent.append(message)
            self.has_sent.notify_all()
        if message["type"] == "http.response.body":
            await self.takes_more.wait()

    async def sends(self, count):
        async with self.has_sent:
            await self.has_sent.wait_for(lambda: len(self.sent) >= count)

    def disconnect(self):
        self._incoming.put_nowait(DISCONNECT)

    def serve(self, path, *, headers=(), query=b"", handler=None, **options):
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": query,
            "headers": list(headers),
            "events": self.events,
            "extensions": {CLOSE_AFTER_ANSWER: {"now": lambda: self.sent.append("hangs up")}},
        }
        handler = handler or GatewayHandler(__name__, **{"max_body_bytes": 40, **options})
        return asyncio.ensure_future(handler(scope, self.receive, self.send))

    @property
    def hangs_up(self):
        return "hangs up" in self.sent

    @property
    def answer(self):
        return [message for message in self.sent if message != "hangs up"]

    @property
    def status(self):
        return self.answer[0]["status"]

    @property
    def headers(self):
        return dict(self.answer[0]["headers"])

    @property
    def bodies(self):
        return [message["body"] for message in self.answer[1:] if message.get("body")]

    @property
    def json(self):
        return json.loads(b"".join(self.bodies))


def body(*chunks):
    last = len(chunks) - 1
    return [{"type": "http.request", "body": chunk, "more_body": i < last} for i, chunk in enumerate(chunks)]


async def test_a_body_that_comes_in_pieces_reaches_the_view_whole():
    connection = Connection(*body(b"one ", b"", b"two"))

    await connection.serve("/echo")

    assert connection.status == 200
    assert connection.bodies == [b"one two"]


async def test_an_answer_carries_its_headers_and_its_length():
    connection = Connection(*body(CANARY))

    await connection.serve("/echo")

    assert connection.headers == {
        b"content-type": b"text/plain",
        b"content-length": str(len(CANARY)).encode(),
        b"x-request-id": b"a1",
        b"x-name": "Zoë".encode("latin1"),
    }


async def test_a_view_gets_what_its_path_and_query_name():
    connection = Connection(*body(b""))

    await connection.serve("/segment/acme/large", query=b"limit=2")

    assert connection.json == {"name": "acme/large", "query": {"limit": "2"}}


@pytest.mark.parametrize("path", ["/segment//acme", "//segment/acme", "/segment/acme//", "//segment//acme/"])
async def test_slashes_too_many_change_nothing(path):
    connection = Connection(*body(b""))

    await connection.serve(path)

    assert connection.json["name"].strip("/") == "acme"


@pytest.mark.parametrize("length", [b"40", b"0", b"-5", b"many", b""])
async def test_a_body_up_to_the_cap_is_read_whatever_its_length_was_said_to_be(length):
    connection = Connection(*body(b"x" * 40))

    await connection.serve("/echo", headers=[(b"content-length", length)])

    assert connection.bodies == [b"x" * 40]


async def test_a_body_declared_too_large_is_not_read():
    connection = Connection()

    await connection.serve("/fault", headers=[(b"content-length", b"41")])

    assert connection.json == {
        "fault": "The body is larger than 40 bytes (LLMHUB_MAX_BODY_MB).",
        "size_bytes": 41,
    }


async def test_a_body_that_grows_too_large_is_read_no_further():
    connection = Connection(*body(b"x" * 30, b"x" * 11, b"x" * 1000))

    await connection.serve("/fault", headers=[(b"content-length", b"5")])

    assert connection.json == {"fault": "The body is larger than 40 bytes (LLMHUB_MAX_BODY_MB).", "size_bytes": 41}


async def test_a_body_that_does_not_arrive_in_time_is_a_fault():
    connection = Connection({"type": "http.request", "body": b"x" * 7, "more_body": True})

    await connection.serve("/fault", body_s=0.02)

    assert connection.json == {"fault": "The body did not arrive within 0.02 s.", "size_bytes": 7}


async def test_a_view_that_needs_no_body_answers_before_one_is_read_and_the_server_hangs_up():
    connection = Connection()

    await connection.serve("/headers_only", headers=[(b"content-length", b"31000000")])

    assert connection.status == 401
    assert connection.json == {"declared": 31000000}
    assert connection.sent[0] == "hangs up"


@pytest.mark.parametrize("path", ["/echo", "/work"])
async def test_nobody_hangs_up_on_a_caller_whose_body_was_read(path):
    connection = Connection(*body(CANARY))
    connection.events.may_end.set()

    await connection.serve(path)

    assert connection.status == 200
    assert not connection.hangs_up


async def test_nothing_is_answered_to_a_caller_who_left_before_the_request_was_whole():
    connection = Connection({"type": "http.request", "body": b"x", "more_body": True}, DISCONNECT)

    await connection.serve("/work")

    assert connection.sent == []
    assert not connection.events.begun.is_set()


async def test_a_caller_who_leaves_ends_the_work_and_the_work_cleans_up():
    connection = Connection(*body(CANARY))
    serving = connection.serve("/work")
    await connection.events.begun.wait()

    connection.disconnect()
    await serving

    assert connection.events.cleaned_up.is_set()
    assert connection.sent == []


async def test_a_server_that_stops_ends_the_work_and_says_so_once_it_has_cleaned_up():
    connection = Connection(*body(CANARY))
    serving = connection.serve("/work")
    await connection.events.begun.wait()

    serving.cancel()
    await serving

    assert connection.events.cleaned_up.is_set()
    assert (connection.status, connection.json["error"]["code"]) == (503, "hub_stopping")


async def test_who_can_be_interrupted_is_told_why_and_goes_on_to_its_end():
    heard = []
    connection = Connection(*body(CANARY))
    serving = connection.serve("/interruptible")
    connection.events.heard = heard
    await connection.sends(2)

    serving.cancel()
    await serving

    assert heard == [Interruption.STOPPING]
    assert connection.bodies == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_the_leaving_of_a_caller_interrupts_and_cancels_nothing():
    connection = Connection(*body(CANARY))
    connection.events.heard = heard = []
    serving = connection.serve("/interruptible")
    await connection.sends(2)

    connection.disconnect()
    await serving

    assert heard == [Interruption.CALLER_GONE]


async def test_what_was_cancelled_has_cleaned_up_when_the_handler_has_finished():
    handler = GatewayHandler(__name__, max_body_bytes=40)
    connection = Connection(*body(CANARY))
    serving = connection.serve("/work", handler=handler)
    await connection.events.begun.wait()

    serving.cancel()
    await handler.finish()

    assert connection.events.cleaned_up.is_set()
    assert serving.done()


async def test_nobody_listens_any_more_once_the_answer_is_sent():
    connection = Connection(*body(CANARY))
    before = asyncio.all_tasks()

    await connection.serve("/echo")
    connection.disconnect()
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
    assert connection.unread == 1


async def test_a_stream_is_sent_as_it_comes_and_then_ended():
    connection = Connection(*body(CANARY))
    serving = connection.serve("/stream")
    await connection.sends(2)
    first = list(connection.sent)

    connection.events.may_end.set()
    await serving

    assert first[1] == {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}
    assert connection.sent[2:] == [
        {"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True},
        {"type": "http.response.body"},
    ]


async def test_a_stream_says_that_nobody_shall_buffer_or_keep_it():
    connection = Connection(*body(CANARY))
    connection.events.may_end.set()

    await connection.serve("/stream")

    assert connection.status == 200
    assert connection.headers == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-cache",
        b"x-accel-buffering": b"no",
        b"x-request-id": b"a1",
    }


async def test_a_silent_stream_is_kept_alive_by_comments():
    connection = Connection(*body(CANARY))
    serving = connection.serve("/stream", ping_s=0.01)

    await connection.sends(4)
    connection.events.may_end.set()
    await serving

    first, *pings, last = connection.bodies
    assert (first, last) == (b"data: 1\n\n", b"data: 2\n\n")
    assert len(pings) >= 2
    assert set(pings) == {b": ping\n\n"}


@pytest.fixture
async def clock():
    """Time that passes for the event loop only when it is told to."""
    loop = asyncio.get_running_loop()
    now_s = loop.time()
    loop.time = lambda: now_s

    async def advance(seconds):
        nonlocal now_s
        now_s += seconds
        for _ in range(10):
            await asyncio.sleep(0)

    yield advance
    del loop.time


async def test_whatever_is_sent_puts_the_next_comment_off(clock):
    connection = Connection(*body(CANARY))
    serving = connection.serve("/stream/slow", ping_s=15)
    await connection.sends(2)

    await clock(10)
    connection.events.goes_on.set()
    await connection.sends(3)
    await clock(14.9)
    before = list(connection.bodies)
    await clock(0.2)

    assert before == [b"data: 1\n\n", b"data: 2\n\n"]
    assert connection.bodies == [*before, b": ping\n\n"]
    connection.disconnect()
    await serving


async def test_no_comment_follows_the_end_of_a_stream():
    connection = Connection(*body(CANARY))
    connection.events.may_end.set()

    await connection.serve("/stream", ping_s=0.01)
    await asyncio.sleep(0.03)

    assert connection.sent[-1] == {"type": "http.response.body"}


async def test_a_caller_who_leaves_a_stream_closes_its_source():
    connection = Connection(*body(CANARY))
    serving = connection.serve("/stream")
    await connection.events.begun.wait()

    connection.disconnect()
    await serving

    assert connection.events.cleaned_up.is_set()
    assert connection.bodies == [b"data: 1\n\n"]


async def test_a_caller_who_leaves_while_taking_no_more_closes_the_source():
    connection = Connection(*body(CANARY))
    connection.takes_more.clear()
    serving = connection.serve("/stream")
    await connection.sends(2)

    connection.disconnect()
    await serving

    assert connection.events.cleaned_up.is_set()


async def test_a_stream_that_breaks_unforeseen_is_not_ended_as_if_whole():
    connection = Connection(*body(CANARY))
    connection.events.is_broken = True
    connection.events.may_end.set()

    with pytest.raises(RuntimeError, match="an unforeseen fault"):
        await connection.serve("/stream")

    assert connection.sent[-1]["more_body"] is True
    assert connection.events.cleaned_up.is_set()


async def test_an_unknown_path_is_404_in_the_hubs_shape():
    connection = Connection(*body(CANARY))

    await connection.serve("/nowhere")

    assert connection.status == 404
    assert connection.headers[b"content-type"] == b"application/json"
    assert connection.json == {
        "error": {"type": "not_found_error", "message": "There is nothing at /nowhere.", "code": None, "param": None}
    }


async def test_an_unforeseen_fault_is_500_in_the_hubs_shape_without_its_words():
    connection = Connection(*body(CANARY))

    await connection.serve("/fail")

    assert connection.status == 500
    assert connection.json == {
        "error": {"type": "server_error", "message": "The hub failed; see its log.", "code": None, "param": None}
    }


async def test_an_unforeseen_fault_is_logged_without_the_body(caplog):
    connection = Connection(*body(CANARY))

    await connection.serve("/fail")

    [record] = [record for record in caplog.records if record.name == "llmhub.http.handler"]
    assert record.levelno == logging.ERROR
    assert "POST /fail failed" in caplog.text
    assert "an unforeseen fault" in caplog.text
    assert "canary" not in caplog.text


async def test_a_query_that_is_no_text_is_400():
    connection = Connection(*body(CANARY))

    await connection.serve("/echo", query=b"name=\xff")

    assert connection.status == 400
    assert connection.json["error"]["message"] == "The query string is not valid UTF-8."
