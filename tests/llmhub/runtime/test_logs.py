"""Every line of the log has the same form, says whose request it was, and holds no content."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
from celery import Celery
from django.core.handlers.asgi import ASGIRequest
from django.urls import path
from structlog.contextvars import bound_contextvars

from chat.dialects.openai_chat import OpenAIDialect
from chat.gateway.recorder import Recorder
from chat.gateway.service import ChatServer
from chat.ledger.writer import LedgerWriter
from llmhub.runtime import logs
from llmhub.runtime.database import conninfo
from llmhub.runtime.process_role import process_role
from providers.manager import get_provider_manager
from tests.chat_requests import MEMORY, chat_request
from tests.live import LiveHub

CANARY = "the-canary-prompt"
NAMES = ("llmhub", "chat", "providers", "uvicorn.error", "celery.app.trace", "asyncio", "django")


urlpatterns = [path("fails", lambda _: fail_with(ValueError(CANARY)))]


class Lines:
    """What a logger writes through the hub's formatter."""

    def __init__(self, log_format: logs.LogFormat) -> None:
        self._stream = io.StringIO()
        self.handler = logging.StreamHandler(self._stream)
        self.handler.setFormatter(logs.formatter(log_format))

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def last(self) -> dict[str, object]:
        return json.loads(self.text.splitlines()[-1])


@contextmanager
def written(log_format: logs.LogFormat = "json", name: str = "") -> Iterator[Lines]:
    lines = Lines(log_format)
    logger = logging.getLogger(name)
    logger.addHandler(lines.handler)
    try:
        yield lines
    finally:
        logger.removeHandler(lines.handler)


def fail_with(error: Exception) -> None:
    prompt = CANARY  # noqa: F841  (a local variable, which tracebacks must not show)
    raise error


def logged_failure(error: Exception, *, cause: Exception | None = None) -> list[dict[str, object]]:
    with written(name="chat") as lines:
        try:
            try:
                raise cause or error
            except Exception as caught:
                if cause is None:
                    raise
                raise error from caught
        except Exception:
            logging.getLogger("chat").exception("It failed.")
    return lines.last["exception"]


@pytest.mark.parametrize("name", NAMES)
def test_every_logger_writes_the_same_fields(name):
    with written(name=name) as lines:
        logging.getLogger(name).warning("It has %d parts.", 3)

    assert list(lines.last) == ["timestamp", "level", "logger", "event", "process", "pid"]
    assert lines.last["timestamp"].endswith("Z")
    assert (lines.last["level"], lines.last["logger"], lines.last["event"]) == ("warning", name, "It has 3 parts.")


def test_what_python_warns_of_is_a_line_that_up_does_not_repeat():
    with warnings.catch_warnings(), written(name="py.warnings") as lines:
        logs.configure({"version": 1, "incremental": True})
        warnings.simplefilter("always")
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)

    assert lines.last["level"] == "info"
    assert str(lines.last["event"]).startswith(f"DeprecationWarning: this is old ({__file__}:")


def test_a_line_bears_the_ids_that_are_bound():
    id_ = uuid4()

    with written(name="chat") as lines, bound_contextvars(request_id=id_):
        logging.getLogger("chat").warning("Odd.")

    assert lines.last["request_id"] == str(id_)


@pytest.mark.parametrize("said", ["Odd.", "Odd.\n"])
def test_lines_are_words_where_a_person_reads_along(said):
    with written("console", name="chat") as lines, bound_contextvars(request_id="r-1"):
        logging.getLogger("chat").warning(said)

    assert lines.text.endswith("Z WARNING chat: Odd. [request_id=r-1]\n")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_told_without_local_variables(log_format):
    with written(log_format, name="chat") as lines:
        try:
            fail_with(ConnectionError("The cable is out."))
        except ConnectionError:
            logging.getLogger("chat").exception("It failed.")

    assert "fail_with" in lines.text
    assert "The cable is out." in lines.text
    assert CANARY not in lines.text


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        KeyError(CANARY),
        psycopg.DataError(CANARY),
        UnicodeEncodeError("utf-8", CANARY, 0, 1, CANARY),
        ExceptionGroup("several", [ValueError(CANARY)]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_that_may_quote_what_it_was_given_is_told_by_its_type(error):
    told = logged_failure(RuntimeError(CANARY), cause=error)

    assert CANARY not in json.dumps(told)
    assert told[0]["type"] == "RuntimeError"
    assert type(error).__name__ in told[1]["type"]


def test_a_ring_of_causes_comes_to_an_end():
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first

    told = list(logs._traces(first))

    assert [one["type"] for one in told] == ["ValueError", "KeyError"]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345678",
        "{'x-api-key': 'abcdefgh12345678'}",
        "https://up.example/v1?key=1&api_key=abcdefgh12345678",
        "postgresql://hub:abcdefgh12345678@db/hub",
        "the key sk-abcdefgh12345678 is wrong",
        "the key lh_abcdefgh12345678 is wrong",
        "password=abcdefgh12345678",
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text):
    with written(name="chat") as lines:
        logging.getLogger("chat").warning("%s", text)

    assert "abcdefgh12345678" not in lines.text
    assert "***" in lines.text


@pytest.mark.parametrize(
    "text",
    [
        "a.b-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        "redis://:p:w:c2lnbmF0dXJl@host",
    ],
)
def test_secrets_in_odd_places_are_blotted_out_whole(text):
    with written(name="chat") as lines:
        logging.getLogger("chat").warning("%s", text)

    assert "c2lnbmF0dXJl" not in lines.text
    assert "IxMjM0" not in lines.text


MALICIOUS = [
    "-eyJ",
    "eyJ",
    "eyJabcdefghijk",
    "-sk-",
    "sk-a ",
    "a+",
    "a+://",
    "a://:",
    "http://a:",
    ":",
    "a:",
    "token ",
    "token:",
    "token= ",
    "token'",
    "token" + " " * 60,
    "AIza",
    "-gAAAA=",
    "api_key",
    "bearer ",
    " ",
    "\n",
    "-",
    "a.",
    "é",
]


def scrub_s(text: str) -> float:
    """Return the shortest of some trials, in time of this thread alone: the machine may be busy."""
    trials = []
    for _ in range(3):
        began_s = time.thread_time()
        logs.scrub(None, "", {"event": text})
        trials.append(time.thread_time() - began_s)
    return min(trials)


@pytest.mark.slow
@pytest.mark.parametrize("piece", MALICIOUS, ids=repr)
@pytest.mark.parametrize("prefix", ["", "eyJ"])
def test_scrubbing_costs_by_the_length_of_a_text_whatever_is_in_it(piece, prefix):
    harmless, malicious = (text * (60_000 // len(text)) for text in ("-abc", piece))

    assert scrub_s(prefix + malicious) < 5 * scrub_s(harmless)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_line_is_longer_than_a_page_or_so(log_format):
    class Verbose:
        def __str__(self) -> str:
            return "w" * 1_000_000

    with written(log_format, name="chat") as lines, bound_contextvars(text="x" * 1_000_000, one=Verbose()):
        try:
            fail_with(ConnectionError("y" * 1_000_000))
        except ConnectionError:
            logging.getLogger("chat").exception("z" * 1_000_000)

    assert len(lines.text) < 5 * logs.MAX_CHARS
    assert all(f"{char * 1000}" in lines.text for char in "wxyz")


def test_where_a_line_is_cut_no_half_of_a_secret_stays():
    key = "sk-" + "4711" * 20

    with written(name="chat") as lines:
        for gap in range(60, 90):
            logging.getLogger("chat").warning("%s %s", " " * (logs.MAX_CHARS - gap), key)
            logging.getLogger("chat").warning("%s %s", " " * (2 * logs.MAX_CHARS - gap), key)

    assert "47114711" not in lines.text


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def note_at(line: int, *, level: int = logging.WARNING, text: str = "Odd.") -> logging.LogRecord:
    return logging.LogRecord("chat", level, "chat/odd.py", line, text, (), None)


def test_a_flood_from_one_place_is_cut_off_and_counted():
    flood = logs.FloodFilter(lines=3, every_s=10, now=(clock := Clock()))
    lines = Lines("json")
    lines.handler.addFilter(flood)

    for number in range(10):
        lines.handler.handle(note_at(1, text=f"Stranger {number}"))
    lines.handler.handle(note_at(2))
    assert len(lines.text.splitlines()) == 4

    clock.now_s = 10.0
    lines.handler.handle(note_at(1))
    assert (lines.last["event"], lines.last["left_out"]) == ("Odd.", 7)


def test_what_was_asked_for_by_level_is_not_cut_off():
    flood = logs.FloodFilter(lines=1)

    assert all(flood.filter(note_at(1, level=logging.DEBUG)) for _ in range(10))


def test_celery_does_not_quote_what_a_task_failed_with():
    app = Celery("test", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True

    @app.task(name="tests.fail")
    def task() -> None:
        fail_with(ValueError(CANARY))

    with written(name="celery.app.trace") as lines:
        task.apply(task_id="t-1")

    assert lines.last["event"] == "Task tests.fail[t-1] raised unexpected"
    assert CANARY not in lines.text


async def test_asyncio_does_not_quote_what_nobody_retrieved():
    loop = asyncio.get_running_loop()
    failed = loop.create_future()
    failed.set_exception(ValueError(CANARY))

    with written(name="asyncio") as lines:
        loop.default_exception_handler(
            {"message": "Never retrieved", "future": failed, "exception": ValueError(CANARY)}
        )

    assert lines.last["event"] == "Never retrieved"
    assert CANARY not in lines.text
    failed.exception()


def test_a_task_is_named_in_its_lines_until_it_ends():
    with written(name="chat") as lines:
        logs.note_task(task_id="t-1", task=SimpleNamespace(name="chat.ledger.tasks.reap"), sender=None)
        logging.getLogger("chat").warning("Odd.")
        during = lines.last
        logs.forget_task(sender=None)
        logging.getLogger("chat").warning("Odd.")

    assert (during["task"], during["task_id"]) == ("chat.ledger.tasks.reap", "t-1")
    assert "task" not in lines.last


@pytest.mark.parametrize(
    ("argv", "role"),
    [
        pytest.param(["/venv/bin/uvicorn", "llmhub.asgi:application"], "web", id="web"),
        pytest.param(["/x/uvicorn/__main__.py", "llmhub.asgi:application"], "web", id="web-module"),
        pytest.param(["/x/llmhub/bulk_process.py", "5"], "bulk", id="bulk"),
        pytest.param(["/x/celery/__main__.py", "-A", "llmhub", "--quiet", "worker"], "worker", id="worker"),
        pytest.param(["celery", "-A", "llmhub", "beat", "--pidfile="], "beat", id="beat"),
        pytest.param(["manage.py", "prepare"], "prepare", id="command"),
        pytest.param(["manage.py"], "manage", id="no-command"),
        pytest.param([], "", id="nothing"),
    ],
)
def test_a_process_is_named_by_what_it_was_started_as(argv, role):
    assert process_role(argv) == role


@pytest.mark.parametrize(
    ("variable", "is_terminal", "is_json"),
    [("json", True, True), ("console", False, False), ("", True, False), ("", False, True)],
)
def test_lines_are_words_on_a_terminal_unless_the_environment_decides(monkeypatch, variable, is_terminal, is_json):
    monkeypatch.setenv("LLMHUB_LOG_FORMAT", variable)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: is_terminal))

    line = logs.formatter().format(logging.LogRecord("chat", logging.WARNING, "", 0, "Odd.", (), None))

    assert line.startswith("{") is is_json


def test_every_answer_has_the_id_that_its_request_logs_under(hub: LiveHub):
    key = hub.issue_key()

    ids = [
        hub.client.get(path, headers=hub.headers(key)).headers["x-request-id"]
        for path in ("/api/providers", "/api/none", "/admin/login/", "/static/none.css", "/v1/models")
    ]

    assert len(set(ids)) == 5


@pytest.mark.urls(__name__)
def test_a_page_that_fails_is_logged_under_the_id_that_its_caller_has(client):
    client.raise_request_exception = False

    with written(name="django.request") as lines:
        answer = client.get("/fails")

    assert answer.status_code == 500
    assert lines.last["request_id"] == answer.headers["x-request-id"]
    assert lines.last["exception"][0]["type"] == "ValueError"
    assert CANARY not in lines.text


@pytest.mark.urls(__name__)
async def test_an_asynchronous_page_has_an_id_too(async_client):
    async_client.raise_request_exception = False

    with written(name="django.request") as lines:
        answer = await async_client.get("/fails")

    assert lines.last["request_id"] == answer.headers["x-request-id"]


def test_at_debug_the_end_of_a_chat_is_told_under_its_id(hub: LiveHub, upstream, caplog):
    hub.add_provider(upstream, name="up")
    ask = {"model": "up/m", "messages": [{"role": "user", "content": CANARY}]}
    key = hub.issue_key()

    with written() as lines, caplog.at_level(logging.DEBUG, "chat"):
        answer = hub.client.post("/v1/chat/completions", json=ask, headers=hub.headers(key))

    (told,) = [line for line in map(json.loads, lines.text.splitlines()) if line["logger"] == "chat.gateway.recorder"]
    assert re.fullmatch(r"A chat ended: succeeded after \d+ ms; tried: up ok\.", told["event"])
    assert told["request_id"] == answer.headers["x-request-id"]
    assert CANARY not in lines.text
    assert key not in lines.text


class BrokenDialect(OpenAIDialect):
    def read(self, body):
        fail_with(ValueError(CANARY))


@pytest.fixture
def request_with_key(hub: LiveHub) -> ASGIRequest:
    return chat_request(hub.issue_key(), b"{}")


async def test_a_fault_of_the_hub_is_answered_with_the_id_it_is_logged_under(request_with_key):
    with written(name="chat") as lines:
        server = ChatServer(get_provider_manager(), Recorder(LedgerWriter(conninfo())), MEMORY)
        answer = await server.serve(request_with_key, BrokenDialect())

    assert answer.status_code == 500
    assert json.loads(answer.content)["error"]["code"] == "internal_error"
    assert float(answer.headers["x-llmhub-overhead-ms"]) > 0
    assert lines.last["request_id"] == answer.headers["x-request-id"]
    assert CANARY not in lines.text
