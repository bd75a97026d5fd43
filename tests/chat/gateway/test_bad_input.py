"""What is wrong with a request, what is said to it, and what is recorded of it: one table, through the running hub."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from chat.history.models import Chat
from chat.ledger.models import ChatContent, ChatStatus, LedgerEvent
from llmhub.access.keys import key_digest
from llmhub.access.models import ApiKey
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub, closed_chat, get_chat

UPSTREAM_KEY = "sk-own-0123456789"
HELLO = [{"role": "user", "content": "Hello"}]
DIALECTS = ("/v1/chat/completions", "/api/chat/multi")
WITHIN_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


@dataclass(frozen=True)
class Bad:
    """One bad request. Shape: `recorded` is the status in the ledger, None where nobody knows whose request it was."""

    name: str
    body: bytes = b""
    status: int = 400
    code: str | None = None
    words: str = ""
    param: str | None = None
    type: str = "invalid_request_error"
    headers: tuple[tuple[str, str], ...] = ()
    recorded: str | None = ChatStatus.REJECTED


@dataclass
class Stage:
    """The hub, one provider that counts its requests, and keys in every condition."""

    hub: LiveHub
    upstream: FakeProvider
    keys: dict[str, str] = field(default_factory=dict)

    def issue(self, condition: str) -> str:
        """Return a key of its own, of the application `condition`: of each, only the first refusal is an entry."""
        fields: dict[str, Any] = {
            "unscoped": {"scopes": ("audit:read",)},
            "bound": {"allowed_providers": ["other"]},
            "expired": {"expires_at": timezone.now()},
        }.get(condition, {})
        key = self.hub.issue_key(application=condition, **fields)
        if condition == "revoked":
            ApiKey.objects.filter(digest=key_digest(key)).revoke(now=timezone.now())
            self.hub.wait_for(lambda snapshot: snapshot.keys[key_digest(key)].revoked_at is not None)
        return key

    def send(self, wire: bytes, *, then: bytes = b"", half_close: bool = False) -> bytes:
        """Return all that comes back over a connection of its own."""
        port = int(self.hub.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection:
            with suppress(ConnectionError):  # the hub may have heard enough
                connection.sendall(wire)
                connection.sendall(then)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def post(self, path: str, body: bytes, *headers: tuple[str, str], length: int | None = None) -> Reply:
        return self.ask("POST", path, body, *headers, length=length)

    def ask(
        self, method: str, path: str, body: bytes = b"", *headers: tuple[str, str], length: int | None = None
    ) -> Reply:
        given = {name.lower() for name, _ in headers}
        usual = {
            "host": "127.0.0.1",
            "connection": "close",
            "content-type": "application/json",
            "authorization": f"Bearer {self.keys['good']}",
            "content-length": str(len(body) if length is None else length),
        }
        named = [(name, value) for name, value in usual.items() if name not in given] + [*headers]
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named)]
        return reply_of(self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", then=body), method=method)


class _Heard(socket.socket):
    """What came, as if it came over a connection."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_: Any, **__: Any) -> Any:
        return io.BytesIO(self._raw)


def reply_of(raw: bytes, *, method: str = "POST") -> Reply:
    response = HTTPResponse(_Heard(raw), method=method)
    response.begin()
    headers = {name.lower(): value.lower() for name, value in response.getheaders()}
    return Reply(status=response.status, headers=headers, body=response.read())


@pytest.fixture(scope="module")
def stage(running_hub: LiveHub) -> Iterator[Stage]:
    running_hub.reset()
    with FakeProvider("custom", api_key=UPSTREAM_KEY) as fake:
        running_hub.add_provider(fake, name="up", api_key=UPSTREAM_KEY, models=("m",))
        found = Stage(running_hub, fake)
        found.keys = {
            "good": running_hub.issue_key(),
            "unscoped": running_hub.issue_key(scopes=("audit:read",)),
        }
        yield found
    running_hub.reset()


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "up/m", "messages": HELLO, **fields}).encode()


def raw(text: bytes) -> bytes:
    """Return a body with one member more, as it is written."""
    return body()[:-1] + b", " + text + b"}"


def said(content: bytes) -> bytes:
    return b'{"model":"up/m","messages":[{"role":"user","content":' + content + b"}]}"


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def wrong(name: str, value: Any, *, param: str | None = None) -> Bad:
    return Bad(f"{name}: {json.dumps(value)}", body(**{name: value}), param=param or name, words=f"`{param or name}`")


def smuggled(name: str) -> Bad:
    return Bad(name, body(**{name: "http://127.0.0.1:9"}), code="forbidden_parameter", param=name, words="a caller")


def smuggled_in(holder: str, value: Any, field_name: str) -> Bad:
    param = f"{holder}.{field_name}"
    return Bad(param, body(**{holder: value}), code="forbidden_parameter", param=param, words="a caller")


NOT_JSON = {"code": "invalid_json", "words": "not valid JSON"}
TOO_DEEP = {"code": "json_too_deep", "words": "nested more than 128 deep"}
NO_OBJECT = {"code": "invalid_json", "words": "must be a JSON object"}
TIMEOUT = {"param": "x-llmhub-timeout-s", "words": "a number of seconds above 0"}
NO_BEARER = ("authorization", "")
NO_KEY = {"status": 401, "code": "invalid_api_key", "recorded": None}

LENGTHS = ("max_tokens", "max_completion_tokens")

BODIES = [
    Bad("empty", b"", code="invalid_json", words="empty"),
    Bad("white space", b" \n", **NOT_JSON),
    Bad("text", b"hello", **NOT_JSON),
    Bad("half", body()[:-1], **NOT_JSON),
    Bad("two documents", body() + body(), **NOT_JSON),
    Bad("a form", b"model=m", **NOT_JSON),
    Bad("a list", b"[]", **NO_OBJECT),
    Bad("a string", b'"x"', **NO_OBJECT),
    Bad("a number", b"7", **NO_OBJECT),
    Bad("null", b"null", **NO_OBJECT),
    Bad("a byte order mark", b"\xef\xbb\xbf" + body(), **NOT_JSON),
    Bad("UTF-16", body().decode().encode("utf-16"), **NOT_JSON),
    Bad("10,000 levels", said(deep(10_000)), **TOO_DEEP),
    Bad("100,000 levels", said(deep(100_000)), **TOO_DEEP),
    Bad("100,000 open brackets", b"[" * 100_000, **TOO_DEEP),
    Bad("deep in a field that nobody knows", raw(b'"x": ' + deep(10_000)), **TOO_DEEP),
    Bad("deep in a text field", raw(b'"user": ' + deep(127)), param="user", words="must be a string"),
    Bad("half of a surrogate pair", said(rb'"\ud800"'), **NOT_JSON),
    Bad("the other half", said(rb'"\udc00"'), **NOT_JSON),
    Bad("half a pair in a name", raw(rb'"\ud800": 1'), **NOT_JSON),
    Bad("half a pair in bytes", said(b'"\xed\xa0\x80"'), **NOT_JSON),
    Bad("not UTF-8", said(b'"\xff\xfe"'), **NOT_JSON),
    Bad("a raw NUL in a text", said(b'"a\x00b"'), **NOT_JSON),
    Bad("NULs", b"\x00" * 64, **NOT_JSON),
    Bad("NaN", raw(b'"temperature": NaN'), **NOT_JSON),
    Bad("Infinity", raw(b'"temperature": -Infinity'), **NOT_JSON),
    Bad("1e999", raw(b'"temperature": 1e999'), **NOT_JSON),
    Bad("a number of 5,000 digits", raw(b'"seed": ' + b"9" * 5000), **NOT_JSON),
    Bad("a whole number beyond 64 bits", raw(b'"seed": 18446744073709551616'), param="seed", words="whole number"),
    Bad("the last of two that is bad", raw(b'"n": 1, "n": 0'), param="n", words="at least 1"),
    Bad("no messages", b'{"model":"up/m"}', code="missing_parameter", words="`messages` is missing"),
    Bad("empty messages", body(messages=[]), param="messages", words="at least one"),
    wrong("messages", "Hello"),
    wrong("messages", {}),
    wrong("messages", [None], param="messages[0]"),
    wrong("messages", [{"role": "admin", "content": "x"}], param="messages[0].role"),
    wrong("messages", [{"role": ["user"], "content": "x"}], param="messages[0].role"),
    wrong("messages", [{"content": "x"}], param="messages[0].role"),
    wrong("messages", [{"role": "user"}], param="messages[0].content"),
    wrong("messages", [{"role": "user", "content": 7}], param="messages[0].content"),
    wrong("messages", [{"role": "user", "content": [7]}], param="messages[0].content[0]"),
    wrong(
        "messages",
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://a.example/a", "detail": 7}}],
            }
        ],
        param="messages[0].content[0].image_url.detail",
    ),
    *(wrong(name, value) for name in ("model", "user", "reasoning_effort") for value in (7, [], {})),
    *(wrong(name, "hot") for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty")),
    *(wrong(name, 1.5) for name in ("top_k", "seed", *LENGTHS, "n", "top_logprobs")),
    *(wrong(name, -1) for name in (*LENGTHS, "n", "top_logprobs")),
    *(wrong(name, "yes") for name in ("stream", "logprobs", "parallel_tool_calls", "response_format", "tools")),
    *(wrong(name, 7) for name in ("stop", "tool_choice")),
    wrong("tools", [7]),
    wrong("tools", [{"type": "function"}], param="tools[0].function"),
    wrong("tools", [{"type": "function", "function": {"name": 7}}], param="tools[0].function.name"),
    *(smuggled(name) for name in ("api_base", "api_key", "base_url", "api_version", "endpoint", "proxy")),
    smuggled("extra_headers"),
    smuggled_in("extra_body", {"api_base": "http://127.0.0.1:9"}, "api_base"),
    smuggled_in("extra_body", {"a": [{"b": {"api_key": "sk-x"}}]}, "api_key"),
    smuggled_in("provider_options", {"base_url": None}, "base_url"),
    smuggled_in("litellm_params", [{"api_key": "sk-x"}], "api_key"),
    smuggled_in("model_kwargs", {"proxy": "http://127.0.0.1:9"}, "proxy"),
    smuggled_in("extra_query", {"endpoint": "x"}, "endpoint"),
    Bad("513 characters of a provider's model", body(model="up/" + "m" * 510), param="model", words="at most 512"),
    Bad("512 characters", body(model="m" * 512), 404, "model_not_found", "mmm", "model"),
    Bad("an unknown model", body(model="nope"), 404, "model_not_found", "`nope`", "model"),
    Bad("an unknown model and provider", body(model="no/pe"), 404, "model_not_found", "`no/pe`", "model"),
    Bad("a model of two lines", body(model="a\r\nx-evil: 1"), 404, "model_not_found", "a\r\nx-evil: 1", "model"),
    Bad("a model with a NUL", body(model="a\x00b"), 404, "model_not_found", "a\x00b", "model"),
    Bad("a model of 100,000 characters", body(model="m" * 100_000), param="model", words="at most 512 characters"),
]

HEADERS = [
    *(
        Bad(f"x-llmhub-timeout-s: {value}", body(), headers=(("x-llmhub-timeout-s", value),), **TIMEOUT)
        for value in ("", "0", "-1", "nan", "inf", "1e999", "soon", "5 s", "0x10", "\xb2")
    ),
    Bad("text/plain", body(), 415, "unsupported_media_type", "text/plain", headers=(("content-type", "text/plain"),)),
    Bad("a form", b"a=1", 415, "unsupported_media_type", headers=(("content-type", "multipart/form-data; boundary="),)),
    Bad("no media type", body(), 415, "unsupported_media_type", headers=(("content-type", "\xff"),)),
    Bad("no key", body(), words="No API key", headers=(("authorization", ""),), **NO_KEY),
    Bad("an unknown key", body(), words="not known", headers=(("authorization", "Bearer lh_nobody"),), **NO_KEY),
    Bad("an unknown scheme", body(), words="No API key", headers=(("authorization", "Basic bGg6bGg="),), **NO_KEY),
    Bad("a malformed key", body(), words="not known", headers=(NO_BEARER, ("x-api-key", "' OR 1=1 --")), **NO_KEY),
    Bad("a key that is no ASCII", body(), words="not known", headers=(NO_BEARER, ("x-api-key", "\xe9" * 40)), **NO_KEY),
    Bad("a very long key", body(), words="not known", headers=(NO_BEARER, ("x-api-key", "k" * 60_000)), **NO_KEY),
    Bad("a bad body from nobody", b"[", words="not known", headers=(NO_BEARER, ("x-api-key", "lh_nobody")), **NO_KEY),
    Bad(
        "an unknown key in both headers",
        body(),
        words="not known",
        headers=(("x-api-key", "lh_nobody"), ("authorization", "Bearer lh_nobody")),
        **NO_KEY,
    ),
]

KEYS = [
    Bad("revoked", body(), 401, "invalid_api_key", "was revoked on"),
    Bad("expired", body(), 401, "invalid_api_key", "expired on"),
    Bad("unscoped", body(), 403, "missing_scope", "needs the scope chat", type="permission_error"),
    Bad("bound", body(), 403, "model_not_allowed", "does not allow", "model", type="permission_error"),
]


def check(case: Bad, reply: Reply, *, of: str | None = None) -> None:
    """Compare what is said and recorded with the table."""
    assert (reply.status, reply.error["type"], reply.error["code"]) == (case.status, case.type, case.code), reply.body
    assert case.words in reply.error["message"]
    assert case.param is None or reply.error["param"] == case.param
    recorded = Chat.objects.filter(pk=reply.headers["x-request-id"]).first()
    assert (recorded and recorded.status) == case.recorded
    if recorded:
        assert (recorded.http_status, recorded.error_code or None) == (case.status, case.code)
        assert noted_bytes(recorded) == len(case.body)
        assert ChatContent.objects.filter(chat_id=recorded.pk).exists() == is_read(case)
        assert of is None or recorded.application == of


def noted_bytes(chat: Chat) -> int:
    event = LedgerEvent.objects.get(chat_id=chat.pk).event
    return int(event["content_bytes"])


def is_read(case: Bad) -> bool:
    """Whether the body is looked at, and kept: what the head says comes first."""
    return case.status not in (401, 413, 415) and case.code != "missing_scope"


@pytest.fixture
def unasked(stage: Stage) -> Iterator[Stage]:
    """See that the provider is not asked."""
    before = len(stage.upstream.requests)
    yield stage
    assert len(stage.upstream.requests) == before


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("case", BODIES + HEADERS, ids=lambda case: case.name[:60])
def test_a_bad_request_is_refused_in_words_and_recorded(unasked, path, case):
    check(case, unasked.post(path, case.body, *case.headers))


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
@pytest.mark.parametrize("case", KEYS, ids=lambda case: case.name)
def test_a_key_that_may_not_is_refused_and_recorded_under_its_application(unasked, path, header, case):
    key = unasked.issue(case.name)
    value = f"Bearer {key}" if header == "authorization" else key

    reply = unasked.post(path, case.body, (header, value))

    check(case, reply, of=case.name)


@pytest.mark.parametrize("path", DIALECTS)
def test_of_two_good_keys_the_one_in_x_api_key_counts(unasked, path):
    reply = unasked.post(path, body(), ("x-api-key", unasked.keys["unscoped"]))

    assert (reply.status, reply.error["code"]) == (403, "missing_scope")


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        pytest.param({"message": " "}, 400, None, "message", id="blank"),
        pytest.param({"message": 7}, 400, None, "message", id="number"),
        pytest.param({"message": "a", "messages": HELLO}, 400, None, "message", id="both"),
        pytest.param({}, 400, "missing_parameter", "message", id="neither"),
        pytest.param({"message": "a", "provider": "nobody"}, 404, "provider_not_found", "provider", id="unknown"),
        pytest.param({"message": "a", "provider": "\x00"}, 404, "provider_not_found", "provider", id="NUL"),
        pytest.param({"message": "a", "provider": ["up"]}, 400, None, "provider", id="list"),
    ],
)
def test_the_hubs_own_fields_are_refused_by_name(unasked, fields, status, code, param):
    sent = json.dumps(fields).encode()

    check(Bad("", sent, status, code, param=param), unasked.post("/api/chat/multi", sent))


TOO_LARGE = 50 * 1024 * 1024


@pytest.mark.parametrize("path", DIALECTS)
def test_50_mb_that_are_announced_are_refused_unread(unasked, path):
    reply = unasked.post(path, b"", length=TOO_LARGE)

    assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    chat = get_chat(reply.headers["x-request-id"])
    assert chat.status == ChatStatus.REJECTED
    assert noted_bytes(chat) == TOO_LARGE


@pytest.mark.parametrize("path", [*DIALECTS, "/api/providers/register"])
def test_50_mb_that_come_unannounced_are_read_no_further_than_the_bound(unasked, path):
    key = unasked.keys["good"]
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\nconnection: close\r\n"
    head += "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    megabyte = b"100000\r\n" + b"x" * 2**20 + b"\r\n"

    with suppress(ConnectionResetError):
        reply = reply_of(unasked.send(head.encode(), then=megabyte * 50 + b"0\r\n\r\n"))
        assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    if path in DIALECTS:
        size_bytes = noted_bytes(Chat.objects.latest("started_at"))
        assert settings.MAX_BODY_BYTES < size_bytes < settings.MAX_BODY_BYTES + 2**20


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
def test_another_method_is_refused(unasked, path, method):
    reply = unasked.ask(method, path)

    assert (reply.status, reply.headers["allow"]) == (405, "post")
    assert method == "HEAD" or reply.error["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/", "/v1/chat", "/v1/chat/completions/x", "/api/chat/", "/v1/%00"])
def test_an_unknown_path_is_not_found(unasked, path):
    reply = unasked.post(path, body())

    assert (reply.status, reply.error["type"]) == (404, "not_found_error")


def test_a_model_of_two_lines_adds_no_header(unasked):
    model = "up/a\r\nx-evil: 1"
    Chat.objects.all().delete()

    reply = unasked.post(DIALECTS[0], body(model=f"nope\r\n{model}"))

    assert "x-evil" not in reply.headers
    assert Chat.objects.get().asked_model == f"nope\r\n{model}"


def served(stage: Stage, path: str, sent: bytes, *headers: tuple[str, str]) -> Chat:
    """Return the record of a chat that is answered by its own provider, called with that provider's own key."""
    before = len(stage.upstream.requests)
    reply = stage.post(path, sent, *headers)
    assert reply.status == 200, reply.body
    [asked] = stage.upstream.requests[before:]
    assert asked.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert asked.headers["host"] == f"127.0.0.1:{stage.upstream.port}"
    return get_chat(reply.headers["x-request-id"])


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize("holder", ["messages", "content", "tools", "metadata", "response_format", "unknown"])
def test_an_address_or_key_deep_inside_has_no_effect(stage, path, holder):
    with FakeProvider("custom") as trap:
        smuggle = {"api_base": trap.url, "base_url": trap.url, "api_key": "sk-evil", "extra_headers": {"host": "evil"}}
        inside = {
            "messages": {"messages": [{**HELLO[0], **smuggle}]},
            "content": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", **smuggle}]}]},
            "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": smuggle}, **smuggle}]},
            "metadata": {"metadata": smuggle},
            "response_format": {"response_format": {"type": "json_object", **smuggle}},
            "unknown": {"x": [{"y": smuggle}], "client": smuggle},
        }

        served(stage, path, body(**inside[holder]))

        assert trap.connections == 0


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(body(messages=[{"role": "user", "content": "a\x00b"}]), id="in a prompt"),
        pytest.param(body(user="a\x00b"), id="in the user"),
        pytest.param(body(**{"x\x00": "\x00"}), id="in a name"),
        pytest.param(body(reasoning_effort="\x00"), id="in a parameter"),
    ],
)
def test_a_nul_is_recorded_as_it_was_sent(stage, path, sent):
    chat = served(stage, path, sent)

    assert chat.status == ChatStatus.SUCCEEDED
    assert bytes(ChatContent.objects.get(chat_id=chat.pk, part="request").body) == sent
    assert "\x00" not in chat.end_user


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    ("headers", "user"),
    [
        pytest.param([("x-llmhub-user", "z" * 50_000)], "z" * 512, id="a very long label"),
        pytest.param([("x-llmhub-user", "\xfe\xff")], "\xfe\xff", id="bytes"),
        pytest.param([("x-llmhub-user", "Fábian Müller".encode().decode("latin-1"))], "Fábian Müller", id="utf-8"),
        pytest.param([("x-llmhub-user", "a"), ("x-llmhub-user", "b")], "a,b", id="twice"),
        pytest.param([("x-llmhub-user", "a\tb")], "a\tb", id="a tab"),
    ],
)
def test_an_odd_label_is_recorded(stage, path, headers, user):
    assert served(stage, path, body(), *headers).end_user == user


@pytest.mark.parametrize(
    "path", ["/v1//chat/completions", "//v1/chat/completions", "/v1/chat/completions/", "//api/chat/multi/"]
)
def test_a_path_with_slashes_too_many_is_served(stage, path):
    assert served(stage, path, body()).status == ChatStatus.SUCCEEDED


@pytest.mark.parametrize("path", DIALECTS)
def test_of_two_keys_the_one_that_is_known_counts(stage, path):
    assert served(stage, path, body(), ("x-api-key", "sk-of-another-service-1234567890")).status == ChatStatus.SUCCEEDED


@pytest.mark.parametrize("path", DIALECTS)
def test_the_last_of_two_members_of_one_name_counts(stage, path):
    chat = served(stage, path, b'{"model":"nope",' + body()[1:])

    assert chat.model_name == "m"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\x00", b"\r\n ", b"\x0b"], ids=repr)
def test_what_would_end_or_fold_a_header_is_no_http(unasked, end):
    line = b"x-llmhub-user: a" + end + b"x-llmhub-no-fallback: 1\r\n"
    head = (
        f"POST {DIALECTS[0]} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {unasked.keys['good']}\r\ncontent-length: 0\r\n"
    )

    reply = reply_of(unasked.send(head.encode() + line + b"\r\n"))

    assert (reply.status, reply.error["code"]) == (400, "invalid_http")


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param("".join(f"x-{n}: v\r\n" for n in range(5000)), id="thousands of headers"),
        pytest.param(f"x-llmhub-user: {'v' * 70_000}\r\n", id="a huge header"),
    ],
)
def test_a_head_without_measure_is_refused(unasked, extra):
    head = f"POST {DIALECTS[0]}?q=1 HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {unasked.keys['good']}\r\n{extra}\r\n"

    reply = reply_of(unasked.send(head.encode()))

    assert (reply.status, reply.error["code"]) == (431, "headers_too_large")


def test_a_huge_url_is_refused(unasked):
    assert unasked.ask("GET", "/v1/models?" + "q" * 70_000).status == 431


@pytest.mark.parametrize("query", ["%ff=%ff", "%00", "q=" + "x" * 60_000, "&" * 5000])
def test_an_odd_query_changes_nothing(stage, query):
    served(stage, f"{DIALECTS[0]}?{query}", body())


def registration(**fields: Any) -> bytes:
    return json.dumps({"name": "a", "provider_type": "custom", "base_url": "http://127.0.0.1:9/v1", **fields}).encode()


REGISTER = ("POST", "/api/providers/register")
CHANGE = ("PATCH", "/api/providers/up")
PARSE = {"code": "parse_error", "words": "not valid JSON"}
MEDIA = {"status": 415, "code": "unsupported_media_type", "words": "Unsupported media type"}


@pytest.mark.parametrize(
    ("where", "case"),
    [
        (REGISTER, Bad("empty", code="required", param="provider_type")),
        (REGISTER, Bad("half", b"{", **PARSE)),
        (REGISTER, Bad("a list", b"[]", code="invalid", words="Expected a dictionary")),
        (REGISTER, Bad("null", b"null", code="null", words="No data")),
        (REGISTER, Bad("100,000 levels", deep(100_000), **PARSE)),
        (REGISTER, Bad("deep in a field", b'{"name":' + deep(900) + b"}", code="required", param="provider_type")),
        (REGISTER, Bad("not UTF-8", b'{"name":"\xff"}', **PARSE)),
        (REGISTER, Bad("half of a surrogate pair", rb'{"name":"\ud800"}', **PARSE)),
        (REGISTER, Bad("NaN", b'{"priority":NaN}', **PARSE)),
        (REGISTER, Bad("a list as type", registration(provider_type=["x"]), code="invalid_choice", words="is none of")),
        (REGISTER, Bad("NUL", registration(name="a\0b"), code="null_characters_not_allowed", param="name")),
        (REGISTER, Bad("NUL in the key", registration(api_key="\0"), code="null_characters_not_allowed")),
        (REGISTER, Bad("no URL", registration(base_url="http://[::1"), code="invalid", param="base_url")),
        (REGISTER, Bad("an odd setting", registration(settings={"x\0": 1}), code="invalid", param="settings")),
        (REGISTER, Bad("an unknown field", registration(api_base="x"), code="invalid", param="api_base")),
        (REGISTER, Bad("a form", b"name=a", headers=(("content-type", "application/x-www-form-urlencoded"),), **MEDIA)),
        (REGISTER, Bad("no type", b"{}", headers=(("content-type", "\xff"),), **MEDIA)),
        (CHANGE, Bad("a text as number", b'{"timeout":"soon"}', code="invalid", param="timeout")),
        (CHANGE, Bad("5,000 digits", b'{"timeout":"' + b"9" * 5000 + b'"}', code="max_string_length", param="timeout")),
        (CHANGE, Bad("beyond 32 bits", b'{"priority":2147483648}', code="max_value", param="priority")),
        (("PUT", CHANGE[1]), Bad("PUT", b"{}", 405, "method_not_allowed")),
        (("OPTIONS", CHANGE[1]), Bad("OPTIONS", b"", 405, "method_not_allowed")),
        (("GET", "/api/providers/%00"), Bad("NUL in a path", b"", 404, "not_found", type="not_found_error")),
        (("GET", "/api/providers/%ff"), Bad("bytes in a path", b"", 404, "not_found", type="not_found_error")),
        (
            ("GET", "/api/audit/chats?user=%00"),
            Bad("NUL in a filter", code="null_characters_not_allowed", param="user"),
        ),
        (("GET", "/api/audit/chats?since=never"), Bad("no time", code="invalid", param="since")),
        (("GET", "/api/audit/chats?min_cost=NaN"), Bad("no sum", code="invalid", param="min_cost")),
        (("GET", "/api/audit/chats?min_cost=1e999"), Bad("a huge sum", code="max_value", param="min_cost")),
        (("GET", "/api/audit/chats?limit=-1"), Bad("no limit", code="invalid", param="limit")),
        (("GET", "/api/audit/chats?cursor=cD0lMDA="), Bad("a made-up cursor", code="invalid", param="cursor")),
        (("GET", "/api/audit/chats?nonsense=1"), Bad("an unknown filter", code="invalid", param="nonsense")),
        (("GET", "/api/audit/chats/%00"), Bad("no id", b"", 404, "chat_not_found", type="not_found_error")),
    ],
    ids=lambda value: value.name if isinstance(value, Bad) else value[0],
)
def test_what_is_no_chat_is_refused_in_words_too(unasked, where, case):
    reply = unasked.ask(*where, case.body, *case.headers)

    assert (reply.status, reply.error["type"], reply.error["code"]) == (case.status, case.type, case.code)
    assert case.words in reply.error["message"]
    assert case.param is None or reply.error["param"] == case.param


def wire(stage: Stage, path: str, *, version: str = "1.1", more: str = "") -> bytes:
    sent = body()
    head = f"POST {path} HTTP/{version}\r\nhost: 127.0.0.1\r\nx-api-key: {stage.keys['good']}\r\n{more}"
    return f"{head}content-type: application/json\r\ncontent-length: {len(sent)}\r\n\r\n".encode() + sent


@pytest.mark.parametrize("path", DIALECTS)
def test_http_1_0_is_served(stage, path):
    reply = reply_of(stage.send(wire(stage, path, version="1.0")))

    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_requests_sent_ahead_are_each_answered_and_recorded(stage):
    Chat.objects.all().delete()
    ahead = b"".join(wire(stage, path) for path in DIALECTS * 2)

    replies = stage.send(ahead + wire(stage, DIALECTS[0], more="connection: close\r\n"))

    assert replies.count(b"HTTP/1.1 200 OK") == 5
    assert Chat.objects.filter(status=ChatStatus.SUCCEEDED).count() == 5


def test_a_caller_that_sends_no_more_has_gone(stage):
    Chat.objects.all().delete()
    before = len(stage.upstream.requests)

    stage.send(wire(stage, DIALECTS[0])[:-5], half_close=True)

    assert stage.ask("GET", "/healthz").status == 200
    assert (Chat.objects.count(), len(stage.upstream.requests)) == (0, before)


def test_a_caller_that_sends_no_more_while_it_waits_has_gone_too_and_is_recorded(stage):
    Chat.objects.all().delete()
    stage.upstream.fail(fakes.stall_before_headers())
    port = int(stage.hub.url.rpartition(":")[2])

    with socket.create_connection(("127.0.0.1", port), timeout=WITHIN_S) as connection:
        connection.sendall(wire(stage, DIALECTS[0]))
        assert stage.upstream.stalled.wait(WITHIN_S)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""

    assert closed_chat(Chat.objects.get().pk).status == ChatStatus.CLIENT_DISCONNECTED
