from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from llmhub.access.models import ApiKey, Application
from tests.admin_pages import said
from tests.people import member_of

pytestmark = pytest.mark.django_db

LIST = "/admin/access/application/"


def page_of(application: Application, verb: str = "change") -> str:
    return reverse(f"admin:access_application_{verb}", args=[application.pk])


def url_to(switch: str, application: Application) -> str:
    return reverse("admin:access_application_do", args=[application.pk, f"switch_{switch}"])


def issue(application: Application, **fields: Any) -> tuple[ApiKey, str]:
    return ApiKey.objects.issue(application, name="production", scopes=["chat"], **fields)


def test_the_list_tells_of_keys_in_force_and_the_last_use_of_any(admin_client, application):
    now = timezone.now()
    issue(application, last_used_at=now - timedelta(days=3))
    issue(application, last_used_at=now - timedelta(hours=2), revoked_at=now)
    issue(application, expires_at=now)

    answer = admin_client.get(LIST)

    (row,) = answer.context["cl"].result_list
    assert (row.live_key_count, row.key_count, row.last_used_at) == (1, 3, now - timedelta(hours=2))
    assert "2 hours ago" in answer.content.decode()


def test_the_list_leads_to_keys_and_chats(admin_client, application):
    key, _ = issue(application)
    issue(Application.objects.create(name="another"))

    page = admin_client.get(LIST).content.decode()
    keys = admin_client.get("/admin/access/apikey/", {"application__id__exact": application.pk})

    assert f"/admin/access/apikey/?application__id__exact={application.pk}&amp;state=in_force" in page
    assert list(keys.context["cl"].result_list) == [key]
    assert "/admin/chat/chat/?application=support-bot" in page


def test_the_page_of_an_application_leads_to_a_new_key_and_to_its_chats(admin_client, application):
    add = admin_client.get(f"{LIST}{application.pk}/add-key/", follow=True)
    chats = admin_client.get(f"{LIST}{application.pk}/chats/")

    assert add.context["adminform"].form["application"].value() == str(application.pk)
    assert chats.headers["location"] == "/admin/chat/chat/?application=support-bot"


def test_an_application_is_added_and_shows_its_keys_and_how_to_call(admin_client):
    added = admin_client.post(f"{LIST}add/", {"name": "support-bot", "is_active": "on"})
    application = Application.objects.get()
    _, secret = issue(application)

    shown = admin_client.get(page_of(application), headers={"host": "localhost:8312"})

    page = shown.content.decode()
    assert (added.status_code, shown.status_code) == (302, 200)
    assert "production" in page
    assert secret not in page
    assert "http://localhost:8312/v1/chat/completions" in page


def test_of_many_keys_the_newest_are_shown_with_a_link_to_all(admin_client, application):
    for _ in range(51):
        issue(application)

    page = admin_client.get(page_of(application))

    assert len(page.context["keys"]) == 50
    assert f'/admin/access/apikey/?application__id__exact={application.pk}">All 51 keys</a>' in page.content.decode()


def test_an_application_is_switched_off_in_its_form(admin_client, application):
    _, secret = issue(application)

    answer = admin_client.post(page_of(application), {"name": "support-bot"})

    assert answer.status_code == 302
    assert not ApiKey.objects.find_entry(secret).is_active


@pytest.mark.parametrize(("switch", "word", "is_active"), [("off", "disabled", False), ("on", "enabled", True)])
def test_an_application_is_switched_in_the_list_as_the_button_says(admin_client, application, switch, word, is_active):
    Application.objects.update(is_active=not is_active)
    button = f'formaction="{url_to(switch, application)}"'

    shown = admin_client.get(LIST).content.decode()
    answer = admin_client.post(url_to(switch, application), follow=True)
    again = admin_client.post(url_to(switch, application), follow=True)

    assert (button in shown, button in answer.content.decode()) == (True, False)
    assert f"support-bot {word}." in said(answer)[0]
    assert said(again) == [f"1 already {word}."]
    assert Application.objects.get().is_active is is_active


def test_looking_at_the_switch_moves_nothing(admin_client, application):
    assert admin_client.get(url_to("off", application)).status_code == 405
    assert admin_client.post(url_to("over", application)).status_code == 404
    assert Application.objects.get().is_active


def test_many_are_switched_at_once_and_counted(admin_client, application):
    Application.objects.create(name="off", is_active=False)
    pks = list(Application.objects.values_list("pk", flat=True))

    off = admin_client.post(LIST, {"action": "switch_off", "_selected_action": pks}, follow=True)
    on = admin_client.post(LIST, {"action": "switch_on", "_selected_action": pks}, follow=True)

    assert said(off) == [
        "1 application disabled. Their keys are refused within a second.",
        "1 already disabled.",
    ]
    assert said(on) == ["2 applications enabled. Their keys are accepted again."]


def test_who_may_only_look_neither_switches_nor_adds_a_key(application):
    operator = member_of("Operator")

    page = operator.get(LIST)
    refused = [
        operator.post(url_to("off", application)),
        operator.post(page_of(application), {"name": "mine"}),
        operator.get(f"{LIST}{application.pk}/add-key/"),
        operator.get(f"{LIST}{application.pk}/chats/"),
    ]

    assert (page.status_code, "/do/" in page.content.decode()) == (200, False)
    assert [answer.status_code for answer in refused] == [403] * 4
    assert "Add key" not in operator.get(page_of(application)).content.decode()
    assert Application.objects.get().is_active


@pytest.mark.parametrize("group", ["Reviewer", ""])
def test_who_has_nothing_to_do_with_applications_sees_none(application, group):
    client = member_of(group)

    assert [client.get(path).status_code for path in (LIST, page_of(application))] == [403, 403]
    assert client.post(url_to("off", application)).status_code == 403


def test_whoever_deletes_an_application_is_told_what_goes_and_what_stays(application):
    admin = member_of("Admin")
    issue(application, last_used_at=timezone.now() - timedelta(hours=2))
    issue(application, revoked_at=timezone.now())

    one = admin.get(page_of(application, "delete")).content.decode()
    bulk = admin.post(LIST, {"action": "delete_selected", "_selected_action": [application.pk]}).content.decode()

    for page in (one, bulk):
        assert "2 keys, 1 of them active; last used" in page
        assert "stay in the history,\n  under its name" in page
    assert Application.objects.exists()


def test_an_application_is_deleted_with_its_keys_by_who_may_delete_it(application):
    _, secret = issue(application)

    refused = member_of("Operator").post(page_of(application, "delete"), {"post": "yes"})
    found = ApiKey.objects.find_entry(secret)
    deleted = member_of("Admin").post(page_of(application, "delete"), {"post": "yes"})

    assert (refused.status_code, deleted.status_code) == (403, 302)
    assert found is not None
    assert not ApiKey.objects.exists()
