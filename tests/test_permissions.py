"""What each group may do on every page of the admin. A page that is new has to be added here."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import reverse

from chat.history.models import Chat
from llmhub.access.models import ApiKey, Application
from providers.models import ProviderConfig, ProviderModel
from tests.admin_pages import add_one_of_each, url
from tests.people import make_staff, signed_in

pytestmark = pytest.mark.django_db

ADMIN, OPERATOR, REVIEWER, NO_GROUP = "Admin", "Operator", "Reviewer", ""
EVERYBODY = (ADMIN, OPERATOR, REVIEWER, NO_GROUP)

ALL, EDIT, LOOK, NOTHING = "view add change delete", "view change", "view", ""
PAGES = {
    "access.ApiKey": {ADMIN: "view add change", OPERATOR: LOOK},
    "access.Application": {ADMIN: ALL, OPERATOR: LOOK},
    "auth.Group": {ADMIN: ALL},
    "auth.User": {ADMIN: ALL},
    "chat.Chat": {ADMIN: LOOK, REVIEWER: LOOK},
    "ledger.LedgerEvent": {ADMIN: LOOK, REVIEWER: LOOK},
    "ledger.LedgerWriterRecord": {ADMIN: LOOK, OPERATOR: LOOK, REVIEWER: LOOK},
    "history.Change": {ADMIN: LOOK, OPERATOR: LOOK},
    "django_celery_beat.ClockedSchedule": {ADMIN: ALL},
    "django_celery_beat.CrontabSchedule": {ADMIN: ALL, OPERATOR: LOOK},
    "django_celery_beat.IntervalSchedule": {ADMIN: ALL, OPERATOR: LOOK},
    "django_celery_beat.PeriodicTask": {ADMIN: ALL, OPERATOR: EDIT},
    "mfa.Authenticator": {ADMIN: "view delete"},
    "providers.ConnectionTest": {ADMIN: LOOK, OPERATOR: LOOK},
    "providers.HealthCheck": {ADMIN: LOOK, OPERATOR: LOOK},
    "providers.ProviderConfig": {ADMIN: ALL, OPERATOR: EDIT},
    "providers.ProviderModel": {ADMIN: ALL, OPERATOR: EDIT},
}
ACTIONS = {
    "access.ApiKey": {"revoke": (ADMIN, OPERATOR)},
    "access.Application": {"switch_on": (ADMIN,), "switch_off": (ADMIN,), "delete_selected": (ADMIN,)},
    "auth.Group": {"delete_selected": (ADMIN,)},
    "auth.User": {"delete_selected": (ADMIN,), "reset_two_factor": (ADMIN,)},
    "django_celery_beat.ClockedSchedule": {"delete_selected": (ADMIN,)},
    "django_celery_beat.CrontabSchedule": {"delete_selected": (ADMIN,)},
    "django_celery_beat.IntervalSchedule": {"delete_selected": (ADMIN,)},
    "django_celery_beat.PeriodicTask": {
        "run_now": (ADMIN, OPERATOR),
        "enable": (ADMIN, OPERATOR),
        "disable": (ADMIN, OPERATOR),
        "delete_selected": (ADMIN,),
    },
    "mfa.Authenticator": {"delete_selected": (ADMIN,)},
    "providers.ProviderConfig": {
        "check_now": (ADMIN, OPERATOR),
        "refresh_models": (ADMIN, OPERATOR),
        "make_default": (ADMIN, OPERATOR),
        "enable": (ADMIN, OPERATOR),
        "disable": (ADMIN, OPERATOR),
        "delete_selected": (ADMIN,),
    },
    "providers.ProviderModel": {
        "allow": (ADMIN, OPERATOR),
        "switch_off": (ADMIN, OPERATOR),
        "delete_selected": (ADMIN,),
    },
}
OF_ROWS = {
    "access_apikey_issued": (ADMIN,),
    "access_apikey_revoke": (ADMIN, OPERATOR),
    "access_apikey_revoke_this": (ADMIN, OPERATOR),
    "access_application_add_key": (ADMIN,),
    "access_application_do": (ADMIN,),
    "access_application_show_chats": (ADMIN,),
    "auth_user_password_change": (ADMIN,),
    "chat_chat_raw": (ADMIN, REVIEWER),
    "django_celery_beat_periodictask_do": (ADMIN, OPERATOR),
    "providers_providerconfig_do": (ADMIN, OPERATOR),
    "providers_providermodel_do": (ADMIN, OPERATOR),
    "providers_providerconfig_try": (ADMIN, OPERATOR),
    "providers_providerconfig_try_new": (ADMIN,),
}
"""Who may open the pages of a row, or press its buttons."""

MODELS = {model._meta.label: model for model in admin.site._registry}
STANDARD = {"changelist", "add", "change", "delete", "history"}


@pytest.fixture
def one_of_each() -> None:
    add_one_of_each()


@pytest.fixture(params=EVERYBODY, ids=lambda name: name or "staff")
def member(request: pytest.FixtureRequest) -> tuple[str, Client, User]:
    """Somebody of each group, and somebody of none."""
    user = make_staff("member", group=request.param)
    return request.param, signed_in(user), user


def request_of(user: User) -> Any:
    request = RequestFactory().get("/admin/")
    request.user = user
    return request


def row_of(model: type[Model]) -> Model:
    """A row that is not the member's own, of what an operator may see too."""
    own = {"auth.User": {"username": "bob"}, "history.Change": {"model": "providers.ProviderConfig"}}
    return model._default_manager.filter(**own.get(model._meta.label, {}))[0]


def names_of_rows() -> set[str]:
    """The names of all URLs that pages have beyond Django's own."""
    names = {pattern.name for page in admin.site._registry.values() for pattern in page.get_urls() if pattern.name}
    return names - {f"{m._meta.app_label}_{m._meta.model_name}_{verb}" for m in MODELS.values() for verb in STANDARD}


def arguments(name: str) -> list[Any]:
    """What the URL of a row's page wants to know."""
    rows = {
        "access_apikey": lambda: [ApiKey.objects.get().pk],
        "access_application": lambda: [Application.objects.get().pk],
        "auth_user": lambda: [User.objects.get(username="bob").pk],
        "chat_chat": lambda: [Chat.objects.get().pk, "request"],
        "django_celery_beat_periodictask": lambda: [1],
        "providers_providerconfig": lambda: [ProviderConfig.objects.get().pk],
        "providers_providermodel": lambda: [ProviderModel.objects.get().pk],
    }
    if name in ("access_apikey_revoke", "providers_providerconfig_try_new"):
        return []
    found = next(find() for prefix, find in rows.items() if name.startswith(prefix))
    actions = {"access_application_do": "switch_on", "providers_providermodel_do": "allow"}
    return [*found, actions.get(name, "enable")] if name.endswith("_do") else found


def test_the_matrix_holds_every_page_action_and_button(admin_user):
    request = request_of(admin_user)
    actions = {label: set(admin.site._registry[model].get_actions(request)) for label, model in MODELS.items()}

    assert set(PAGES) == set(MODELS)
    assert {label: set(found) for label, found in ACTIONS.items()} == {k: v for k, v in actions.items() if v}
    assert set(OF_ROWS) == names_of_rows()


@pytest.mark.parametrize("label", PAGES)
def test_pages_open_for_whom_they_are_made(member, one_of_each, label):
    group, client, _ = member
    may = PAGES[label].get(group, NOTHING).split()
    model = MODELS[label]
    pk = quote(row_of(model).pk)

    statuses = {
        "view": client.get(url(model, "changelist")).status_code,
        "add": client.get(url(model, "add")).status_code,
        "delete": client.get(url(model, "delete", pk)).status_code,
        "form": client.get(url(model, "change", pk), follow=True).status_code,
        "history": client.get(url(model, "history", pk), follow=True).status_code,
    }

    needed = {"view": "view", "add": "add", "delete": "delete", "form": "view", "history": "view"}
    assert statuses == {page: 200 if verb in may else 403 for page, verb in needed.items()}


@pytest.mark.parametrize("label", PAGES)
def test_forms_are_taken_from_whom_may_send_them(member, one_of_each, label):
    group, client, _ = member
    may = PAGES[label].get(group, NOTHING).split()
    model = MODELS[label]
    pk = quote(row_of(model).pk)

    sent = {
        "add": client.post(url(model, "add")).status_code,
        "change": client.post(url(model, "change", pk)).status_code,
        "delete": client.post(url(model, "delete", pk)).status_code,
    }

    refused = {verb for verb, status in sent.items() if status == 403}
    leads_elsewhere = {"change"} if label == "history.Change" and "view" in may else set()
    assert refused == {"add", "change", "delete"} - set(may) - leads_elsewhere


@pytest.mark.parametrize("label", ACTIONS)
def test_actions_are_offered_to_whom_they_are_for(member, label):
    group, _, user = member

    offered = set(admin.site._registry[MODELS[label]].get_actions(request_of(user)))

    assert offered == {name for name, groups in ACTIONS[label].items() if group in groups}


@pytest.mark.parametrize("name", OF_ROWS)
def test_buttons_and_pages_of_rows_are_for_whom_they_are_made(member, one_of_each, name):
    group, client, _ = member
    page = reverse(f"admin:{name}", args=arguments(name))

    statuses = {client.get(page).status_code, client.post(page).status_code}

    assert (statuses - {405, 404, 302} == {403}) == (group not in OF_ROWS[name])


def test_the_playground_is_for_who_may_chat(member):
    group, client, _ = member

    assert client.get(reverse("playground")).status_code == (200 if group in (ADMIN, OPERATOR) else 403)


def test_the_sidebar_shows_what_opens(member):
    group, client, _ = member
    entries = [item for part in client.get("/admin/").context["sidebar_navigation"] for item in part["items"]]
    links = {str(item["link"]) for item in entries}

    assert {link: client.get(link).status_code for link in links} == dict.fromkeys(links, 200)
    lists = {url(MODELS[label], "changelist") for label, may in PAGES.items() if may.get(group)}
    assert lists - {url(MODELS["mfa.Authenticator"], "changelist")} <= links
