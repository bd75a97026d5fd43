"""The hub as somebody's hand in its own network: whatever makes it call out, it calls nobody it should not."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from providers.addresses import AddressPolicy, url_fault
from providers.backends import BACKENDS
from providers.backends.base import Endpoint
from providers.errors import ConfigurationError
from providers.http import HttpClient
from providers.models import ProviderConfig
from providers.types import ChatMessage, ChatRequest, ProviderType, Timeouts
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub
from tests.providers.admin.rows import LIST, fields_of

EVERYTHING = ("0.0.0.0/0", "::/0")
METADATA = "169.254.169.254"
HELLO = [{"role": "user", "content": "Hello"}]
KINDS = list(ProviderType)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xa9fea9fe",
        "0xA9FEA9FE",
        "025177524776",
        "0251.0376.0251.0376",
        "0xa9.254.0251.254",
        "169.16689662",
        "169.254.43518",
        "4294967296.169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[::FFFF:A9FE:A9FE]",
        "[0:0:0:0:0:ffff:a9fe:a9fe]",
        "[0000:0000:0000:0000:0000:ffff:a9fe:a9fe]",
        "[::a9fe:a9fe]",
        "[::ffff:0:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "[2001::5601:5601]",
        "[fe80::a9fe:a9fe]",
        "[fe80::a9fe:a9fe%25lo]",
        "[fd00:ec2::254]",
        "１６９．２５４．１６９．２５４",
        "①⑥⑨。②⑤④。①⑥⑨。②⑤④",
        "169%2e254%2e169%2e254",
        "169.254.169.254%23.example.com",
        "example.com@169.254.169.254",
        "example.com%40169.254.169.254",
        "169.254.169.254\\@example.com",
        "169.254.169.254\t.example.com",
        "169.254.169.254\u00ad",
        "169.254.169.254\u200b",
        "169.254.169.254\x00.example.com",
        "[169.254.169.254]",
    ],
)
@pytest.mark.parametrize("rest", ["/latest/meta-data/", ":80/v1", ""])
def test_the_metadata_service_is_refused_in_every_spelling_even_where_everything_is_allowed(host, rest):
    assert url_fault(f"http://{host}{rest}", allowed=EVERYTHING)


@pytest.mark.parametrize(
    "host",
    [
        "0",
        "0.0.0.0",
        "00000000",
        "0x0",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "127.0.0.1.",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "10.0.0.1",
        "192.168.0.1",
        "172.31.255.255",
        "100.64.0.1",
        "198.18.0.1",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[ff02::1]",
        "255.255.255.255",
    ],
)
def test_this_machine_and_its_network_are_refused_unless_allowed(host, names):
    names["localhost"] = names["localhost."] = ["127.0.0.1"]
    policy, bare = AddressPolicy(()), host.strip("[]")

    fault = url_fault(f"http://{host}/v1", allowed=())
    resolved = [] if fault else names[bare.lower()]

    assert fault or all(policy.address_fault(ip_address(address), host=bare) for address in resolved)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "dict://127.0.0.1:6379/info",
        "ftp://127.0.0.1/",
        "ldap://127.0.0.1/",
        "jar:http://127.0.0.1!/",
        "data:application/json,{}",
        "javascript:alert(1)",
        "unix:///run/docker.sock",
        "http+unix://%2Frun%2Fdocker.sock/",
        "ws://127.0.0.1/",
        "//127.0.0.1/",
        "http:127.0.0.1",
        "http:/127.0.0.1",
        "http:\\\\127.0.0.1",
        "HTTP://127.0.0.1\r\nx-evil: 1",
        "http://127.0.0.1/v1\r\nx-evil: 1",
        "http://127.0.0.1/v1 HTTP/1.1\r\nx-evil: 1",
        "http://127.0.0.1/v1\tx",
        "http://127.0.0.1/v1?x=",
        "http://127.0.0.1/v1#",
        "http://127.0.0.1:0x50/",
        "http://127.0.0.1:80:80/",
        "http://127.0.0.1:/ /",
    ],
)
def test_other_schemes_and_broken_urls_are_refused(url):
    assert url_fault(url, allowed=EVERYTHING)


Answers = dict[str, list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """The addresses of names, a fresh one each time that a name is looked up; the last of them stays."""
    answers: Answers = {}
    ask = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        known = answers.get(host.decode() if isinstance(host, bytes) else host or "")
        if known is None:
            return ask(host, port, *rest, **options)
        address = known.pop(0) if len(known) > 1 else known[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.fixture
def trap() -> Iterator[FakeProvider]:
    """Somebody whom the hub is never to speak to."""
    with FakeProvider("custom") as fake:
        yield fake


CALLS: dict[str, Callable[[LiveHub, str, str], Any]] = {
    "check": lambda hub, key, name: hub.client.post(f"/api/providers/{name}/check", headers=hub.headers(key)),
    "refresh": lambda hub, key, name: hub.client.post(f"/api/providers/{name}/refresh", headers=hub.headers(key)),
    "live health": lambda hub, key, _name: hub.client.get("/api/providers/health?live=1", headers=hub.headers(key)),
    "chat": lambda hub, key, name: ask(hub, key, f"{name}/m"),
    "stream": lambda hub, key, name: ask(hub, key, f"{name}/m", stream=True),
    "hub's own chat": lambda hub, key, name: ask(hub, key, f"{name}/m", path="/api/chat/multi"),
}
"""Everything by which a caller makes the hub call a provider."""


def ask(hub: LiveHub, key: str, model: str, *, path: str = "/v1/chat/completions", **more: Any) -> Any:
    body = {"model": model, "messages": HELLO, **more}
    return hub.client.post(path, json=body, headers=hub.headers(key))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_name_that_stands_for_a_forbidden_address_is_called_by_no_type(names, kind):
    names["inner.example"] = [METADATA]
    endpoint = Endpoint(
        name="inner", base_url="http://inner.example/v1", api_key="sk-0123456789abcdef", timeouts=Timeouts()
    )
    request = ChatRequest(messages=(ChatMessage(role="user", content="Hello"),), model_name="m")
    async with HttpClient() as client:
        backend = BACKENDS[kind](endpoint, client)

        for work in (backend.chat(request), anext(backend.stream_chat(request)), backend.list_models()):
            with pytest.raises(ConfigurationError, match="never allowed"):
                await work


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [302, 308])
def test_no_redirect_is_followed_by_anything(hub, trap, kind, status):
    def away(path: str) -> fakes.Fault:
        return fakes.body(b"", status=status, location=f"{trap.url}{path}", refresh=f"0; url={trap.url}{path}")

    with FakeProvider(kind) as fake:
        fake.always = away("/chat/completions")
        hub.add_provider(fake, name="up", provider_type=kind, api_key="sk-0123456789abcdef", models=("m",))
        key = hub.issue_key()
        for call in CALLS.values():
            fake.probe_faults.extend([away("/models")] * 3)
            call(hub, key, "up")
            fake.probe_faults.clear()

    assert trap.connections == 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_that_a_caller_points_to_is_fetched(hub, trap, kind):
    url = f"{trap.url}/cat.png"
    parts = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "image_url", "image_url": {"url": url, "detail": "high"}, "cache_control": {"type": "x"}},
        {"type": "input_audio", "input_audio": {"url": url, "data": url, "format": "wav"}},
        {"type": "file", "file": {"file_url": url, "file_data": url}},
        {"type": "image", "source": {"type": "url", "url": url}},
        {"type": "video_url", "video_url": {"url": url}},
    ]
    with FakeProvider(kind) as fake:
        hub.add_provider(fake, name="up", provider_type=kind, api_key="sk-0123456789abcdef", models=("m",))
        key = hub.issue_key()

        answers = [
            ask(hub, key, "up/m", messages=[{"role": "user", "content": [{"type": "text", "text": "?"}, part]}])
            for part in parts
        ]

    assert {answer.status_code for answer in answers} <= {200, 400}
    assert trap.connections == 0


HOSTILE_NAMES = [
    "m\r\nx-evil: 1",
    "m HTTP/1.1\r\nx-evil: 1\r\n\r\nGET /evil",
    "../../evil",
    "..",
    "..%2f..%2fevil",
    "%2e%2e/evil",
    "%0d%0ax-evil:%201",
    "m?key=evil",
    "m#evil",
    "m;evil",
    "\\\\evil",
    "//evil.example/x",
    "http://evil.example/x",
    "@evil.example",
    "m:evil",
    "m\x00evil",
    "м\u202eevil",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_models_name_changes_neither_place_nor_headers_of_a_call(hub, kind):
    with FakeProvider(kind) as fake:
        hub.add_provider(fake, name="up", provider_type=kind, api_key="sk-0123456789abcdef", models=("m",))
        key = hub.issue_key()
        ask(hub, key, "up/m")
        [usual] = fake.chats

        for name in HOSTILE_NAMES:
            ask(hub, key, f"up/{name}")

    for request in fake.requests[1:]:
        assert request.headers.keys() == usual.headers.keys()
        assert request.headers["host"] == usual.headers["host"]
        assert request.path.count("/") - request.path.count("%2F") <= usual.path.count("/") + 20
        assert request.path.startswith(usual.path.partition("m:")[0] if kind == ProviderType.GOOGLE else usual.path)
        assert request.query.keys() == usual.query.keys()


def text_settings() -> Iterator[tuple[ProviderType, dict[str, Any]]]:
    """Each setting of each type that holds a text, with a header hidden in it, at its end and in a name."""
    for kind, backend in BACKENDS.items():
        for name, field in backend.settings_model.model_json_schema().get("properties", {}).items():
            kinds = {part.get("type") for part in field.get("anyOf", [field])}
            if "string" in kinds:
                yield from (
                    (kind, {name: value}) for value in ("a\r\nx-evil: 1", "a\nx-evil: 1", "a\r", "2023-06-01\n")
                )
            if "object" in kinds:
                yield kind, {name: {"x-team": "a\r\nx-evil: 1"}}
                yield kind, {name: {"x-team\r\nx-evil": "1"}}
                yield kind, {name: {"x-team: 1\nx-evil": "1"}}
                yield from ((kind, {name: {header: "evil"}}) for header in ("Host", "authorization", "Content-Length"))
                yield from (
                    (kind, {name: {header: "evil"}}) for header in ("Transfer-Encoding", "connection", "Cookie")
                )


@pytest.mark.parametrize(("kind", "settings"), list(text_settings()))
def test_no_setting_adds_a_header_of_its_own_or_takes_the_hubs(kind, settings):
    row = ProviderConfig(
        name="up", provider_type=kind, base_url="http://localhost/v1", api_key="sk-0123456789abcdef", settings=settings
    )

    with pytest.raises(ValidationError) as found:
        row.full_clean(validate_unique=False, validate_constraints=False)

    assert set(found.value.message_dict) == {"settings"}


@pytest.mark.parametrize(
    "key", ["sk-0123456789\r\nx-evil: 1", "sk-0123456789\n", "sk-0123456789\x00", "sk-ключ-123456"]
)
def test_no_key_adds_a_header(key):
    row = ProviderConfig(name="up", provider_type="custom", base_url="http://localhost/v1", api_key=key)

    with pytest.raises(ValidationError) as found:
        row.full_clean(validate_unique=False, validate_constraints=False)

    assert set(found.value.message_dict) == {"api_key"}


PAGES = {
    ProviderType.GOOGLE: lambda token: {"models": [{"name": "models/m"}], "nextPageToken": token},
    ProviderType.ANTHROPIC: lambda token: {"data": [{"id": "m"}], "has_more": True, "last_id": token},
}


@pytest.mark.parametrize("kind", PAGES)
def test_what_a_provider_calls_its_next_page_leads_nowhere_else(hub, kind, trap):
    tokens = [f"{trap.url}/models", "../../evil", "x&key=evil", "x\r\nx-evil: 1", "x#evil", "@evil.example/"]
    with FakeProvider(kind) as fake:
        hub.add_provider(fake, name="up", provider_type=kind, api_key="sk-0123456789abcdef")
        key = hub.issue_key()
        for token in tokens:
            fake.probe_faults.append(fakes.body(json.dumps(PAGES[kind](token)).encode()))
            CALLS["refresh"](hub, key, "up")
            fake.probe_faults.clear()
        paths = {request.path for request in fake.requests}
        headers = {name for request in fake.requests for name in request.headers}

    assert trap.connections == 0
    assert len(paths) == 1
    assert "x-evil" not in headers


@pytest.mark.django_db
@pytest.mark.parametrize("url", [f"http://{METADATA}/", "http://10.0.0.1/v1", "http://0/", "file:///etc/passwd"])
def test_a_connection_is_not_tried_where_it_may_not_be_saved(admin_client: Client, url):
    row = ProviderConfig.objects.get()
    fields = fields_of(row, name="new", provider_type="custom", base_url=url)

    answers = [admin_client.post(f"{LIST}add/try/", fields), admin_client.post(f"{LIST}{row.pk}/try/", fields)]

    assert [answer.status_code for answer in answers] == [200, 200]
    for answer in answers:
        steps = answer.context["result"].steps
        assert [step.outcome for step in steps] == ["failed"]
        assert "Validate the form" in steps[0].title
