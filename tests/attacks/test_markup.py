"""What callers, providers and admins put in is text wherever it comes out: no markup, no header, no line of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from prometheus_client.parser import text_string_to_metric_families

from chat.history.models import Chat
from chat.ledger.append import append_events
from chat.ledger.content import make_answer, make_content
from chat.ledger.events import Caller, RequestSummary
from chat.ledger.models import ChatStatus
from llmhub.access.models import ApiKey, Application
from llmhub.runtime.logs import formatter
from providers.models import Health, ProviderConfig, ProviderModel
from providers.types import Attempt
from tests import fakes
from tests.admin_pages import add_one_of_each, url
from tests.attacks.wire import Wire
from tests.chat.ledger.samples import make_intent, make_outcome, make_void, new_chat_id
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat

CANARY = "canary4711"
MARKUP = f"""{CANARY}<img src=x onerror=alert(1)><script>alert(1)</script>"'`${{7*7}}{{{{7*7}}}}</textarea></script>"""
ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e\u2028\x85\r\nHTTP/1.1 200 OK\r\nx-evil: 1"
HOSTILE = MARKUP + ESCAPES
QUOTES = f"{CANARY}' onfocus='alert(1)' x='\" onclick=\"alert(1)\" y=\""
LINK = f"javascript:alert('{CANARY}')"


class Finds(HTMLParser):
    """What of a page would act, although somebody wrote it as text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self._script = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._script = tag if tag in ("script", "style") else ""
        if dict(attributes).get("type") == "application/json":
            self._script = "data"
        for name, given in attributes:
            value = given or ""
            acts = (name.startswith(("x-", "@", ":")) and CANARY in value) or (name[:2] == "on" and "alert" in value)
            leads = name in ("href", "src", "action", "formaction") and value.strip().lower().startswith("javascript:")
            if acts or leads or (tag == "img" and value == "x"):
                self.found.append((tag, name, value[:80]))

    def handle_data(self, data: str) -> None:
        if self._script in ("script", "style") and CANARY in data:
            self.found.append((self._script, "", data[:80]))

    def handle_endtag(self, tag: str) -> None:
        self._script = ""


def acting(page: str) -> list[tuple[str, str, str]]:
    finds = Finds()
    finds.feed(page)
    return finds.found


def test_the_search_finds_what_would_act():
    pages = [
        f"<b>{MARKUP}</b>",
        f"<a href='{LINK}'>",
        f"<p title='{QUOTES}'>",
        f"<i x-text='{CANARY}'>",
        f"<script>{CANARY}</script>",
    ]

    assert all(acting(page) for page in pages)
    assert acting(f'<script type="application/json">"{CANARY}"</script>') == []


FILLED = {
    ProviderConfig: ("base_url", "default_model", "last_error"),
    ProviderModel: ("name",),
    Application: ("description",),
    ApiKey: ("name", "prefix"),
}


OTHERS = {
    "providers.HealthCheck": ("error",),
    "auth.User": ("first_name", "last_name", "email"),
    "django_celery_beat.PeriodicTask": ("description", "args", "kwargs"),
    "operations.TaskResult": ("error",),
}


def add_hostile_rows(text: str) -> None:
    """Rows of every kind that hold the text wherever callers, providers and admins can put one."""
    add_one_of_each()
    for model, names in FILLED.items():
        model._default_manager.update(
            **{name: text[: model._meta.get_field(name).max_length or 10_000] for name in names}
        )
    ProviderConfig.objects.update(health=Health.UNHEALTHY, settings={"extra_headers": {text: text}})
    ProviderModel.objects.update(capabilities=[text[:20]])
    ApiKey.objects.update(allowed_models=[text[:200]], allowed_providers=[text[:100]])
    for label, values in OTHERS.items():
        apps.get_model(label)._default_manager.update(**dict.fromkeys(values, text[:150]))
    Group.objects.filter(name="reviewers").update(name=text[:150])
    add_hostile_chats(text)


def add_hostile_chats(text: str) -> None:
    caller = Caller(application=text, api_key=text, actor=text, end_user=text, conversation=text, address="192.0.2.1")
    asked = RequestSummary(
        dialect="openai", model_name=text, provider=text, params={text: text, "others": text}, message_count=1
    )
    parts = [
        {"type": "text", "text": text},
        {"type": text, text: text},
        {"type": "image_url", "image_url": {"url": LINK}},
    ]
    turns = [
        {"role": "user", "content": parts, "name": text},
        {
            "role": "assistant",
            "tool_calls": [{"id": text, "type": "function", "function": {"name": text, "arguments": text}}],
        },
        {"role": "tool", "tool_call_id": text, "content": text},
    ]
    tool = {"type": "function", "function": {"name": text, "description": text, "parameters": {text: text}}}
    request = json.dumps({"model": text, "messages": turns, "tools": [tool], text: text, "user": text}).encode()
    message = {"content": text, "refusal": text, "reasoning_content": text, text: text}
    answer = json.dumps({"choices": [{"message": message, "finish_reason": text}], "model": text}).encode()
    attempt = Attempt(
        provider=text,
        model_name=text,
        ok=False,
        latency_ms=1,
        error_type=text,
        upstream_status=500,
        upstream_request_id=text,
    )
    chat_id, refused = new_chat_id(), new_chat_id()
    append_events(
        [
            make_intent(chat_id, caller=caller, asked=asked, content=make_content(request)),
            make_outcome(
                chat_id, status=ChatStatus.FAILED, provider=text, model_name=text, attempts=(attempt,),
                finish_reason=text, native_finish_reason=text, error_type=text, error_code=text,
                content=make_answer(answer), dropped_params=(text,),
            ),
            make_void(refused, caller=caller, asked=asked, content=make_content(b"\xff" + request), error_code=text),
        ]
    )  # fmt: skip


def pages(client: Client) -> Iterator[tuple[str, Any]]:
    """Every page that shows a row, and those that show many."""
    paths = [
        "/admin/",
        "/admin/playground/",
        "/admin/search/?s=canary",
        reverse("admin:access_apikey_revoke") + "?keys=1",
    ]
    for model in sorted(admin.site._registry, key=lambda model: model._meta.label):
        paths += [url(model, "changelist") + ("?q=%3Cimg%20src%3Dx%3E" if model is Chat else "")]
        for row in model._default_manager.all()[: 3 if model is Chat else 1]:
            paths += [url(model, verb, quote(row.pk)) for verb in ("change", "history")]
    paths += [url(Chat, "changelist"), url(ApiKey, "add"), url(Application, "delete", Application.objects.get().pk)]
    for path in paths:
        yield path, client.get(path, follow=True)


@pytest.mark.django_db
@pytest.mark.parametrize("text", [HOSTILE + QUOTES, LINK], ids=["markup", "link"])
def test_no_page_of_the_admin_acts_on_what_others_wrote(admin_client, text):
    add_hostile_rows(text.replace("\x00", ""))

    shown, acts = 0, {}
    for path, answer in pages(admin_client):
        page = answer.content.decode()
        shown += CANARY in page
        assert answer.status_code in (200, 403), path
        if found := acting(page):
            acts[path] = found

    assert acts == {}
    assert shown > 12


@pytest.mark.django_db
def test_what_is_given_out_as_data_is_never_a_page(admin_client):
    add_hostile_rows(MARKUP)
    chat = Chat.objects.filter(status="failed")[0]
    paths = [reverse("admin:chat_chat_raw", args=[chat.pk, part]) for part in ("request", "answer")]
    paths += [
        "/api/audit/chats",
        f"/api/audit/chats/{chat.pk}",
        "/api/providers",
        "/api/providers/models",
        "/api/status",
    ]
    paths += ["/api/schema", "/admin/playground/plan/?model=%3Cimg%20src%3Dx%3E", f"/api/providers/{CANARY}%3Cimg%3E"]

    for path in paths:
        answer = admin_client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.status_code == 404 or "html" not in answer.headers["content-type"], path
        assert "json" in answer.headers["content-type"] or acting(answer.content.decode()) == [], path
        if path.endswith("request.json"):
            assert answer.headers["content-disposition"].startswith("attachment"), path


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/{}", "/admin/{}", "/api/{}", "/api/providers/{}", "/accounts/login/?next={}", "/admin/login/?next={}"]
)
@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)"])
def test_what_stands_in_an_address_is_not_repeated_as_markup(client, path, text):
    page = client.get(path.format(text)).content.decode()

    assert text not in page.replace("&quot;", "") or "<" not in text
    assert acting(page) == []


NAMES = [
    f"{CANARY}\r\nx-evil: 1",
    f"{CANARY}\nx-evil: 1\r\n\r\n<script>",
    "\x1b[31mred",
    "\u202eevil",
    "é\u2028\x85x-evil: 1",
]


def ask(hub: LiveHub, key: str, body: dict[str, Any], *headers: bytes) -> list[str]:
    """Return the lines of an answer's head, as they came over the wire."""
    content = json.dumps(body).encode()
    lines = [
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: localhost",
        b"content-type: application/json",
        b"authorization: Bearer " + key.encode(),
        b"content-length: %d" % len(content),
        *headers,
    ]
    with Wire(hub.url) as wire:
        wire.send(b"\r\n".join(lines) + b"\r\n\r\n" + content)
        answer = wire.reply()
    assert answer is not None
    return [f"{name}: {value}" for name, value in answer.headers.items()]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_becomes_a_header_of_an_answer(hub, upstream, name):
    hub.add_provider(upstream, name="up", models=("m",))
    key = hub.issue_key()
    message = [{"role": "user", "content": "Hello"}]
    told = {"id": name, "model": name, "choices": [{"message": {"content": name}, "finish_reason": name}]}
    upstream.fail(fakes.body(json.dumps(told).encode(), x_request_id="canary4711; x-evil: 1"))
    usual = {line.partition(":")[0] for line in ask(hub, key, {"model": "up/m", "messages": message})}

    heads = [
        ask(hub, key, {"model": f"up/{name}", "messages": message}),
        ask(hub, key, {"model": name, "messages": message}),
        ask(hub, key, {"model": "up/m", "messages": message, name: 1, "user": name}),
        ask(hub, key, {"model": "up/m", "messages": message, "stream": True, name: 1}),
        ask(hub, key, {"model": "up/m", "messages": [{"role": name, "content": ""}]}, b"x-request-id: canary4711"),
    ]

    may_come = usual | {
        "x-llmhub-dropped-params",
        "transfer-encoding",
        "content-length",
        "x-should-retry",
        "retry-after",
    }
    for head in heads:
        assert {line.partition(":")[0] for line in head} <= may_come | {
            "cache-control",
            "x-accel-buffering",
            "connection",
        }
        assert all(line.isascii() and line.isprintable() for line in head)
        assert "x-request-id: canary4711" not in head


def test_no_name_becomes_a_line_of_the_metrics(hub, upstream):
    hub.add_provider(upstream, name="up", models=("m",))
    key = hub.issue_key()
    evil = f'm"}} 1\nevil_metric 1\n# {CANARY}'
    ask(hub, key, {"model": f"up/{evil}", "messages": [{"role": "user", "content": evil}], "user": evil})
    upstream.fail(fakes.status(500, evil, error_code=evil))
    ask(hub, key, {"model": "up/m", "messages": [{"role": "user", "content": evil}]})

    text = hub.client.get("/metrics").text

    assert CANARY not in text
    assert "evil_metric" not in {family.name for family in text_string_to_metric_families(text)}


def test_names_that_callers_make_up_add_no_series_to_the_metrics(hub, upstream):
    hub.add_provider(upstream, name="up", models=("m",))
    key = hub.issue_key()
    counts = []
    for names in (["m"], [f"made-up-{number}" for number in range(20)]):
        for name in names:
            ask(hub, key, {"model": f"up/{name}", "messages": [{"role": "user", "content": "x"}], "user": name})
            ask(hub, key, {"model": f"{name}/{name}", "messages": [{"role": "user", "content": "x"}]})
        families = text_string_to_metric_families(hub.client.get("/metrics").text)
        counts.append(sum(len(family.samples) for family in families if family.name.startswith("llmhub_")))

    assert counts[0] == counts[1]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_text_in_the_log_steers_a_screen_or_passes_for_a_line(log_format):
    record = logging.LogRecord("chat", logging.WARNING, __file__, 1, "%s failed: %s", (HOSTILE, HOSTILE), None)

    first, *more = formatter(log_format).format(record).splitlines()

    assert all(line.isprintable() for line in (first, *more))
    assert all(line.startswith("    ") for line in more)
    assert log_format == "console" or not more


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/\x1b[31m", "/admin/%0d%0aevil", "/api/providers/%1b%5b2J"]
)
def test_no_request_writes_a_line_of_its_own_into_the_log(hub, caplog, path):
    line = formatter("console")
    hub.client.post(path.replace("\x1b", "%1b"), content=HOSTILE.encode(), headers={"x-api-key": b"\x1b[31m"})
    hub.client.get(path.replace("\x1b", "%1b"), headers={"host": "evil.example", "user-agent": b"\x1b[2J"})

    for record in caplog.records:
        if record.name != "uvicorn.access":  # which the hub's own settings switch off
            assert "\x1b[2J" not in line.format(record)
            assert "\nevil" not in line.format(record)


@pytest.mark.django_db
def test_a_name_that_steers_the_screen_does_so_in_no_question_of_the_command_line(capsys):
    add_hostile_rows(HOSTILE)
    call_command("rotate_secrets")

    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err


def test_what_a_provider_calls_its_models_is_kept_as_text_and_bounded(hub):
    names = [HOSTILE, "x" * 5000, "", LINK, *NAMES]
    with FakeProvider("custom", model_names=tuple(names)) as fake:
        hub.add_provider(fake, name="up")
        key = hub.issue_key()

        answer = hub.client.post("/api/providers/up/refresh", headers=hub.headers(key))

    assert answer.status_code in (200, 502)
    assert all(len(name) <= 200 for name in ProviderModel.objects.values_list("name", flat=True))
    chat = ask(hub, key, {"model": "up/none", "messages": [{"role": "user", "content": "x"}]})
    assert closed_chat(next(line for line in chat if line.startswith("x-request-id")).partition(": ")[2])
