"""Who gets in where, by which method: every URL of the hub, written down room by room.

What is expected stands here by hand. A URL, a page of the admin or a scope that is missing here fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from chat.history.models import Chat
from llmhub.access.models import ApiKey, Application
from llmhub.access.principals import Scope
from llmhub.history.models import Change
from providers.models import ProviderConfig
from tests.admin_pages import add_one_of_each
from tests.live import LiveHub
from tests.people import make_staff
from tests.providers.admin.rows import DEAD_URL
from tests.test_permissions import ADMIN, OF_ROWS, OPERATOR, PAGES, REVIEWER, STANDARD, arguments, row_of
from tests.undone import undone

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

CHAT, READ, WRITE, AUDIT = "chat", "providers:read", "providers:write", "audit:read"
SCOPES = (CHAT, READ, WRITE, AUDIT, "audit:read:all")
OPENED_BY = {CHAT: {CHAT}, READ: {READ}, WRITE: {WRITE}, AUDIT: {AUDIT, "audit:read:all"}}
"""Which scopes open what asks for one."""

API: dict[str, dict[str, str]] = {
    "api/providers": {"GET": READ},
    "api/providers/register": {"POST": WRITE},
    "api/providers/health": {"GET": READ},
    "api/providers/models": {"GET": READ},
    "api/providers/<provider:name>": {"GET": READ, "PATCH": WRITE, "DELETE": WRITE},
    "api/providers/<provider:name>/default": {"POST": WRITE},
    "api/providers/<provider:name>/check": {"POST": WRITE},
    "api/providers/<provider:name>/refresh": {"POST": WRITE},
    "api/audit/chats": {"GET": AUDIT},
    "api/audit/chats/<str:chat_id>": {"GET": AUDIT},
    "api/status": {"GET": READ},
}
"""With a key of the scope, or as somebody signed in who may do the same in the admin."""

GATEWAY: dict[str, dict[str, str]] = {
    "api/chat/multi": {"POST": CHAT},
    "v1/chat/completions": {"POST": CHAT},
    "v1/models": {"GET": CHAT},
    "v1/models/<path:model_id>": {"GET": CHAT},
}
"""Likewise; a method that is not taken is told to everybody alike."""

PROBES = ("healthz", "readyz", "metrics")
"""Open to everybody who reaches the port."""

ANYBODY, SIGNED_IN, STAFF = "anybody", "whoever is signed in", "staff"
ROOMS: dict[str, str] = {
    "": ANYBODY,
    "favicon.ico": ANYBODY,
    "admin": ANYBODY,
    "api/schema": ANYBODY,
    "api/docs": ANYBODY,
    "accounts/login/": ANYBODY,
    "accounts/logout/": ANYBODY,
    "accounts/inactive/": ANYBODY,
    "accounts/2fa/authenticate/": ANYBODY,
    "accounts/reauthenticate/": SIGNED_IN,
    "accounts/2fa/reauthenticate/": SIGNED_IN,
    "accounts/2fa/": STAFF,
    "accounts/2fa/totp/activate/": STAFF,
    "accounts/2fa/totp/deactivate/": STAFF,
    "accounts/2fa/recovery-codes/": STAFF,
    "accounts/2fa/recovery-codes/generate/": STAFF,
    "accounts/2fa/recovery-codes/download/": STAFF,
    "admin/": STAFF,
    "admin/search/": STAFF,
    "admin/login/": ANYBODY,
    "admin/logout/": ANYBODY,
    "admin/password_change/": STAFF,
    "admin/password_change/done/": STAFF,
    "admin/autocomplete/": STAFF,
    "admin/jsi18n/": STAFF,
    "admin/r/<path:content_type_id>/<path:object_id>/": STAFF,
    r"admin/^(?P<app_label>auth|mfa|history|access|providers|ledger|chat|django_celery_beat)/$": STAFF,
    r"admin/(?P<url>.*)$": STAFF,
}
"""Pages that are no model's. What they show of a model, each asks for by itself."""

PLAYGROUND = {"admin/playground/", "admin/playground/plan/", "admin/playground/snippets/"}
MAY_CHAT = {ADMIN, OPERATOR}

SIGNED_IN_SCOPES = {
    "": set(),
    REVIEWER: {AUDIT, "audit:read:all"},
    OPERATOR: {CHAT, READ},
    ADMIN: set(SCOPES),
    "superuser": set(SCOPES),
}
"""What a group may do over the API."""


@dataclass(frozen=True)
class Who:
    """Somebody who asks. Shape: `scopes` None for who is not let in anywhere; `group` None for who is no staff."""

    name: str
    scopes: frozenset[str] | None = None
    group: str | None = None
    is_signed_in: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)


def walk(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from walk(entry, path)
        else:
            yield path, entry


def pages_of_models() -> dict[str, URLPattern]:
    """The URLs of the admin's models by their paths; whom they are for, `tests.test_permissions` says."""
    found = dict(walk(get_resolver(settings.ROOT_URLCONF)))
    return {path: entry for path, entry in found.items() if path not in {*ROOMS, *API, *PLAYGROUND}}


def test_every_url_has_a_room():
    known = {f"{m._meta.app_label}_{m._meta.model_name}_{verb}" for m in admin.site._registry for verb in STANDARD}
    unknown = {
        path: entry.name
        for path, entry in pages_of_models().items()
        if entry.name not in known | set(OF_ROWS) and not path.endswith("/<path:object_id>/")
    }
    gateway = {path for path, _ in walk(get_resolver(settings.GATEWAY_URLCONF))}

    assert unknown == {}
    assert gateway == {*GATEWAY, *PROBES}
    assert {model._meta.label for model in admin.site._registry} == set(PAGES)
    assert {*ROOMS, *API, *PLAYGROUND} <= {path for path, _ in walk(get_resolver(settings.ROOT_URLCONF))}


def test_every_scope_is_known_here():
    assert set(Scope.values) <= set(SCOPES)


def keys(application: str = "matrix") -> Iterator[Who]:
    """Keys in every condition, each with all scopes but those of one alone."""
    now = timezone.now()
    row = Application.objects.create(name=application)
    off = Application.objects.create(name=f"{application}-off", is_active=False)

    def who(name: str, scopes: tuple[str, ...] | None, application: Application = row, **fields: Any) -> Who:
        _, secret = ApiKey.objects.issue(application, name=name, scopes=list(scopes or Scope.values), **fields)
        return Who(name, None if scopes is None else frozenset(scopes), headers={"authorization": f"Bearer {secret}"})

    yield Who("nobody")
    yield Who("garbage", headers={"authorization": "Bearer \u00e9 \u00e9", "x-api-key": "\u00e9"})
    yield Who("a basic password", headers={"authorization": "Basic YWRtaW46YWRtaW4="})
    yield Who("unknown key", headers={"x-api-key": "lh_" + "0" * 43})
    yield who("revoked key", None, revoked_at=now)
    yield who("expired key", None, expires_at=now - timedelta(seconds=1))
    yield who("key of what is switched off", None, off)
    for scope in Scope.values:
        yield who(f"key for {scope}", (scope,))
    yield who("key for everything", tuple(Scope.values))


def people() -> Iterator[Who]:
    def who(user: User, *, scopes: set[str] | None, group: str | None, is_signed_in: bool = True) -> Who:
        client = Client()
        client.force_login(user)
        cookies = {name: morsel.value for name, morsel in client.cookies.items()}
        found = None if scopes is None else frozenset(scopes)
        return Who(user.username, found, group, is_signed_in, cookies=cookies)

    yield who(User.objects.create_user("no-staff"), scopes=set(), group=None)
    inactive = User.objects.create_superuser("inactive")
    signed_in = who(inactive, scopes=None, group=None, is_signed_in=False)
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    yield signed_in
    for group in ("", REVIEWER, OPERATOR, ADMIN):
        yield who(make_staff(group or "staff", group=group), scopes=SIGNED_IN_SCOPES[group], group=group)
    yield who(User.objects.create_superuser("superuser"), scopes=SIGNED_IN_SCOPES["superuser"], group="superuser")


def outcome(response: Any) -> str:
    """What a caller makes of an answer."""
    status, location = response.status_code, response.headers.get("location", "")
    if status in (401, 403, 405):
        return str(status)
    if status >= 500 and status != 502:  # a provider that does not answer was asked
        return f"fault {status}"
    is_sent_away = status == 302 and ("/login/" in location or "/reauthenticate/" in location)
    return "login" if is_sent_away else "in"


def by_scope(who: Who, method: str, room: dict[str, str]) -> str:
    """What the API answers: who you are, then whether there is such a method, then whether you may."""
    if who.scopes is None:
        return "401"
    needed = room.get("GET" if method == "HEAD" else method)
    if needed is None:
        return "405"
    return "in" if OPENED_BY[needed] & who.scopes else "403"


class Visitor:
    """Asks Django's own pages; what it changes is taken back after each request."""

    def __init__(self, who: Who) -> None:
        self._client = Client(headers=dict(who.headers), raise_request_exception=False)
        self._who = who

    def ask(self, method: str, url: str) -> str:
        self._client.cookies = SimpleCookie(dict(self._who.cookies))
        with undone():
            response = self._client.generic(method, f"/{url}", b"{}", "application/json")
            return outcome(response)


@pytest.fixture
def rows(db: None) -> None:
    ProviderConfig.objects.update(base_url=DEAD_URL)
    add_one_of_each()


def url_of(path: str, entry: URLPattern) -> str:
    """A URL of this path, of a row that is there."""
    options = next(
        (m._meta for m in admin.site._registry if path.startswith(f"admin/{m._meta.app_label}/{m._meta.model_name}/")),
        None,
    )
    if options is None:
        values = {"<provider:name>": "ollama", "<str:chat_id>": str(Chat.objects.get().pk)}
        for mark, value in values.items():
            path = path.replace(mark, value)
        return path
    if entry.name in OF_ROWS:
        return reverse(f"admin:{entry.name}", args=arguments(entry.name)).removeprefix("/")
    return path.replace("<path:object_id>", str(quote(row_of(options.model).pk)))


def mismatches(
    found: dict[tuple[str, str, str], str], expected: dict[tuple[str, str, str], set[str]]
) -> dict[Any, Any]:
    return {cell: (result, expected[cell]) for cell, result in found.items() if result not in expected[cell]}


TRY_EVERY_METHOD = {"key for everything", "no-staff", "superuser"}
"""Whether there is such a method is asked after who it is, and before what they may: others try a few that are not."""


def methods_of(who: Who, room: dict[str, str]) -> Iterator[str]:
    for method in METHODS:
        is_taken = method in room or (method == "HEAD" and "GET" in room)
        if who.scopes is None:
            if method in ("GET", "POST", "DELETE"):
                yield method
        elif is_taken or method == "DELETE" or who.name in TRY_EVERY_METHOD:
            yield method


def test_the_api_lets_in_by_scope(rows):
    found, expected = {}, {}
    for who in (*keys(), *people()):
        visitor = Visitor(who)
        for path, room in API.items():
            url = url_of(path, None)  # type: ignore[arg-type]  # no model's
            for method in methods_of(who, room):
                cell = (who.name, method, path)
                found[cell] = visitor.ask(method, url)
                expected[cell] = {by_scope(who, method, room)}

    assert mismatches(found, expected) == {}


def test_pages_that_are_no_models_are_for_whom_they_are_made(rows):
    found, expected = {}, {}
    for who in (*people(), Who("nobody"), [*keys()][-1]):
        visitor = Visitor(who)
        for path in (path for path, need in ROOMS.items() if need != ANYBODY and "<" not in path):
            is_theirs = who.is_signed_in if ROOMS[path] == SIGNED_IN else who.group is not None
            for method in ("GET", "POST", "DELETE"):
                cell = (who.name, method, path)
                found[cell] = visitor.ask(method, path)
                expected[cell] = {"in", "login", "403", "405"} if is_theirs else {"login", "405", "401"}

    assert mismatches(found, expected) == {}


def test_what_is_open_to_anybody_is_open_to_nobody(rows):
    visitor = Visitor(Who("nobody"))
    paths = [path for path, need in ROOMS.items() if need == ANYBODY]

    found = {path: visitor.ask("GET", path) for path in paths}
    faults = {
        (method, path): result
        for path in paths
        for method in ("POST", "DELETE", "OPTIONS")
        if "fault" in (result := visitor.ask(method, path))
    }

    assert {path for path, result in found.items() if result not in ("in", "login", "405")} == set()
    assert faults == {}


VERB_OF = {"changelist": "view", "add": "add", "delete": "delete", "history": "view", "change": "view"}


def may(who: Who, path: str, entry: URLPattern) -> bool:
    """Whether staff may open a page of a model: by the table of groups and pages."""
    if who.group == "superuser":
        return True
    if entry.name in OF_ROWS:
        return who.group in OF_ROWS[entry.name]
    if path.endswith("/<path:object_id>/"):
        return True  # leads to the form, which asks
    label = next(label for label in PAGES if path.startswith(f"admin/{label.lower().replace('.', '/')}/"))
    verb = VERB_OF[str(entry.name).rpartition("_")[2]]
    return verb in PAGES[label].get(who.group or "", "").split()


TRIED_BY = {
    "nobody": ("GET", "POST"),
    "no-staff": ("GET",),
    "inactive": ("GET",),
    "key for everything": ("GET",),
    "": ("GET", "POST", "DELETE", "OPTIONS"),
    REVIEWER: ("GET", "POST"),
    OPERATOR: ("GET", "POST"),
    ADMIN: ("GET", "POST"),
}
"""The admin asks who it is before it looks at the method: each is tried with somebody, not with everybody."""


def test_pages_of_models_turn_away_whom_they_are_not_for(rows):
    pages = {path: (entry, url_of(path, entry)) for path, entry in pages_of_models().items()}
    found, expected = {}, {}
    for who in (*people(), Who("nobody"), [*keys()][-1]):
        visitor = Visitor(who)
        for path, (entry, url) in pages.items():
            if who.group is not None and may(who, path, entry):
                continue
            refused = {"login", "405"} if who.group is None else {"403", "405"}
            for method in TRIED_BY[who.name if who.group is None else who.group]:
                cell = (who.name, method, path)
                found[cell] = visitor.ask(method, url)
                expected[cell] = refused

    assert mismatches(found, expected) == {}
    assert len(found) > 1000


def test_no_method_but_post_changes_anything(rows):
    who = next(who for who in people() if who.group == "superuser")
    client = Client()
    client.cookies = SimpleCookie(dict(who.cookies))
    before = Change.objects.count(), ApiKey.objects.count(), User.objects.count(), Chat.objects.count()

    faults = {}
    for path, entry in pages_of_models().items():
        if path.endswith(("/delete/", "/do/<str:action>/", "/revoke/", "/password/")):
            response = client.delete(f"/{url_of(path, entry)}", b"post=yes", "application/x-www-form-urlencoded")
            if response.status_code >= 500:
                faults[path] = response.status_code

    assert faults == {}
    assert (Change.objects.count(), ApiKey.objects.count(), User.objects.count(), Chat.objects.count()) == before


def test_the_playground_is_for_who_may_chat(rows):
    found, expected = {}, {}
    for who in (*people(), Who("nobody"), [*keys()][-1]):
        visitor = Visitor(who)
        for path in PLAYGROUND:
            for method in METHODS:
                cell = (who.name, method, path)
                found[cell] = visitor.ask(method, path)
                is_in = who.group in (*MAY_CHAT, "superuser")
                expected[cell] = {"in", "405"} if is_in else {"403", "405"} if who.group is not None else {"login"}

    assert mismatches(found, expected) == {}


@pytest.fixture
def callers(hub: LiveHub) -> Iterator[list[Who]]:
    made = [*keys(), *people()]
    hub.wait_for(lambda snapshot: len(snapshot.keys) == ApiKey.objects.count())
    yield made
    User.objects.all().delete()


TOKEN = "c" * 32


def test_chats_and_models_let_in_by_scope(hub, callers):
    found, expected = {}, {}
    for who in callers:
        cookies = {**who.cookies, settings.CSRF_COOKIE_NAME: TOKEN}
        headers = {
            **{name: value.encode() for name, value in who.headers.items()},
            "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "x-csrftoken": TOKEN,
            "content-type": "application/json",
        }
        for path, room in GATEWAY.items():
            for method in METHODS:
                cell = (who.name, method, path)
                url = "/" + path.replace("<path:model_id>", "ollama/none")
                found[cell] = outcome(hub.client.request(method, url, content=b"{}", headers=headers))
                expected[cell] = {by_scope(who, method, room) if method in room else "405"}

    assert mismatches(found, expected) == {}


def test_probes_are_open(hub):
    found = {
        (method, path): hub.client.request(method, f"/{path}").status_code for path in PROBES for method in METHODS
    }

    assert set(found.values()) <= {200, 405, 503}
