from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from llmhub.adminkit.large_tables import MAX_PAGES
from providers.models import HealthCheck
from tests.people import member_of
from tests.providers.admin.rows import add, page_of

pytestmark = pytest.mark.django_db

CHECKS = "/admin/providers/healthcheck/"


def test_health_checks_are_read_only(admin_client):
    check = HealthCheck.objects.create(provider=add(), at=timezone.now(), ok=False, latency_ms=3, error="refused")
    path = reverse("admin:providers_healthcheck_change", args=[check.pk])

    assert "refused" in admin_client.get(reverse("admin:providers_healthcheck_changelist")).content.decode()
    assert admin_client.get(path).status_code == 200
    assert f"{check.pk}/history/" not in admin_client.get(path).content.decode()
    assert admin_client.post(path, {"ok": "on"}).status_code == 403
    assert admin_client.get(reverse("admin:providers_healthcheck_add")).status_code == 403


def test_health_checks_are_narrowed_to_a_provider(admin_client):
    first, second = add("first"), add("second")
    for row in (first, second):
        HealthCheck.objects.create(provider=row, at=timezone.now(), ok=False, latency_ms=3, error=f"by {row.name}")

    page = admin_client.get(CHECKS, {"provider__id__exact": second.pk}).content.decode()

    assert "by second" in page
    assert "by first" not in page


@pytest.mark.parametrize("query", [{"o": "1"}, {"o": "-3"}, {"_facets": "True"}, {"p": MAX_PAGES + 1}])
def test_a_list_of_millions_is_neither_sorted_nor_counted_nor_skipped_through(admin_client, query):
    for ok in (True, False):
        HealthCheck.objects.create(provider=add(f"is-{ok}".lower()), at=timezone.now(), ok=ok, latency_ms=3)

    with CaptureQueriesContext(connection) as captured:
        assert admin_client.get(CHECKS, query).status_code == 200

    asked = [query["sql"] for query in captured if "providers_healthcheck" in query["sql"]]
    assert not [sql for sql in asked if "COUNT(" in sql or "OFFSET" in sql]
    assert not [sql for sql in asked if 'ORDER BY "providers_healthcheck"."at" DESC' not in sql]


def test_a_provider_shows_its_last_day_as_chart_and_as_table(admin_client):
    row, now = add(), timezone.now()
    for minutes, ok, latency_ms in ((1, True, 200), (2, True, 400), (3, False, 7), (25 * 60, True, 9999)):
        at = now - timedelta(minutes=minutes)
        HealthCheck.objects.create(provider=row, at=at, ok=ok, latency_ms=latency_ms, error="" if ok else "refused")

    answer = admin_client.get(page_of(row))

    history = answer.context["history"]
    assert history.summary == ("3 checks in the last 24 hours, 1 failed; latency 300 ms on average, 400 ms at most.")
    assert sum(span.checks for span in history.spans) == 3
    assert "refused" in answer.content.decode()
    assert f"{CHECKS}?provider__id__exact={row.pk}" in answer.content.decode()


def test_a_single_check_is_spoken_of_as_one(admin_client):
    row = add()
    HealthCheck.objects.create(provider=row, at=timezone.now(), ok=True, latency_ms=7)

    assert "1 check in the last 24 hours, none failed" in admin_client.get(page_of(row)).content.decode()


def test_a_provider_without_checks_says_so(admin_client):
    page = admin_client.get(page_of(add())).content.decode()

    assert "No checks in the last 24 hours." in page
    assert "<canvas" not in page


@pytest.mark.parametrize(("group", "status"), [("Operator", 200), ("Reviewer", 403), ("", 403)])
def test_who_may_see_health_checks(group, status):
    assert member_of(group).get(CHECKS).status_code == status
