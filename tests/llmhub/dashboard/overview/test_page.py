from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from html import escape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat.history.models import Chat
from chat.history.rollups import roll_up
from chat.ledger.models import ChatStatus
from llmhub.access.models import ApiKey, Application
from llmhub.dashboard.overview.lines import Figure, Lines
from llmhub.operations.models import Heartbeat, Service
from providers.models import Health, ProviderConfig
from tests.llmhub.dashboard.overview.test_usage import failed, served
from tests.people import member_of

pytestmark = pytest.mark.django_db

MARKUP = "<script>alert(1)</script>"
CHATS, ERRORS = 0, 1


@pytest.fixture(autouse=True)
def everything_up() -> None:
    for part in Service:
        Heartbeat.objects.beat(part, now=timezone.now())
    ProviderConfig.objects.update(health=Health.HEALTHY)


@pytest.fixture
def some_chats() -> None:
    now = timezone.now()
    sum_up(
        *(served(now, **{"application": "", "actor": "ann"} if n % 3 else {}) for n in range(5)),
        served(now - timedelta(hours=5), provider="other", cost_nano_usd=None),
        served(now, status=ChatStatus.CLIENT_DISCONNECTED),
        failed(now, error_code="timeout"),
        failed(now, status=ChatStatus.REJECTED, provider="", model_name="", error_type="not_found_error"),
        served(now - timedelta(days=3), provider="other"),
    )


def sum_up(*chats: Chat) -> None:
    Chat.objects.bulk_create(chats)
    roll_up(now=timezone.now())


def dashboard(client: Client, query: str = "") -> dict[str, Any]:
    context: dict[str, Any] = client.get(f"/admin/{query}").context["dashboard"]
    return context


def listed(client: Client, figure: Figure) -> int:
    return len(client.get(figure.url).context["cl"].result_list)


def all_lines(shown: dict[str, Any]) -> list[Lines]:
    return [*shown["tables"], shown["buckets"]]


@pytest.mark.parametrize("period", ["24h", "14d"])
def test_each_count_leads_to_just_the_chats_it_counts(admin_client, some_chats, period):
    shown = dashboard(admin_client, f"?period={period}")

    counts = [tile.figure for tile in shown["tiles"][:2]] + [figure for _, figure in shown["by_status"]]
    counts += [figure for *_, figure in shown["errors"]]
    counts += [figure for table in shown["tables"] for line in table.lines for figure in line.figures[:2]]
    counts += [figure for line in shown["buckets"].lines for figure in line.figures[:2] if figure.text != "0"]

    assert len(counts) > 25
    assert [listed(admin_client, figure) for figure in counts] == [int(figure.text) for figure in counts]


def test_every_number_is_a_link_and_latencies_lead_to_what_succeeded(admin_client, some_chats):
    shown = dashboard(admin_client)

    figures = [figure for lines in all_lines(shown) for line in lines.lines for figure in line.figures]
    asked = [figure for figure in figures if figure.text != "–"]
    assert all(re.match(r"/admin/chat/chat/\?.*since=", figure.url) for figure in asked if figure.text != "0")
    assert all("status=succeeded" in tile.figure.url for tile in shown["tiles"][4:])
    page = admin_client.get("/admin/").content.decode()
    assert page.count('href="/admin/chat/chat/?') >= len(asked)


def test_the_period_is_chosen_by_a_link_and_is_a_day_otherwise(admin_client, some_chats):
    by_default, days, unknown = (dashboard(admin_client, query) for query in ("", "?period=14d", "?period=x"))

    assert [shown["tiles"][0].figure.text for shown in (by_default, days, unknown)] == ["9", "10", "9"]
    page = admin_client.get("/admin/?period=14d").content.decode()
    assert '<a href="?period=14d" aria-current="page">' in page
    assert '<a href="?period=24h">' in page


def test_charts_show_the_sums_and_say_them_in_words(admin_client, some_chats):
    chats, latency, tokens = dashboard(admin_client)["charts"]

    by_status = {line["label"]: sum(line["data"]) for line in json.loads(chats.data)["datasets"]}
    assert by_status == {"Succeeded": 6, "Disconnected": 1, "Rejected": 1, "Failed": 1}
    assert "succeeded 6" in chats.summary
    assert sum(json.loads(tokens.data)["datasets"][0]["data"]) == 7 * 42
    assert len([seconds for seconds in json.loads(latency.data)["datasets"][0]["data"] if seconds]) == 2
    assert all(json.loads(chart.options) for chart in (chats, latency, tokens))


def test_a_chart_has_its_words_beside_it_and_its_numbers_in_a_table(admin_client, some_chats):
    page = admin_client.get("/admin/").content.decode()

    assert page.count('<canvas class="chart"') == page.count('role="img" aria-label="') == 3
    assert len(dashboard(admin_client)["buckets"].lines) == 24
    assert "By hour" in page


def test_an_unknown_price_is_said(admin_client):
    sum_up(served(timezone.now()), served(timezone.now(), cost_nano_usd=None, provider="free"))

    shown = dashboard(admin_client)

    assert (shown["tiles"][3].figure.text, shown["tiles"][3].note) == ("$0.000001", "+ 1 chat of unknown price")
    costs = {line.name: line.figures[3].text for line in shown["tables"][0].lines}
    assert costs == {"acme": "$0.000001", "free": "unknown"}


@pytest.mark.parametrize(
    ("group", "sees_chats", "sees_providers"),
    [("Admin", True, True), ("Operator", False, True), ("Reviewer", True, False)],
)
def test_each_group_sees_the_numbers_and_links_only_where_it_may_go(some_chats, group, sees_chats, sees_providers):
    ProviderConfig.objects.create(name="acme", provider_type="custom", health=Health.UNHEALTHY, last_error="refused")
    client = member_of(group)

    page = client.get("/admin/").content.decode()

    assert dashboard(client)["tiles"][0].figure.text == "9"
    main = page[page.index('class="ov"') :]
    assert ("/admin/chat/chat/" in main) is sees_chats
    assert ("/admin/providers/providerconfig/" in main) is ("refused" in main) is sees_providers
    links = sorted(set(re.findall(r'href="(/admin/[^"]+)"', main)))[::9]
    assert {client.get(link.replace("&amp;", "&")).status_code for link in links} == {200}


def test_staff_who_may_see_neither_get_a_sentence_and_no_numbers(some_chats):
    answer = member_of("").get("/admin/")

    page = answer.content.decode()
    assert "dashboard" not in answer.context
    assert page.count("Ask an administrator to add you to a group") == 1
    assert "permission to view or edit" not in page
    assert "<canvas" not in page


@pytest.mark.parametrize("part", Service)
def test_a_silent_part_is_a_warning(admin_client, some_chats, part):
    Heartbeat.objects.filter(part=part).delete()

    page = admin_client.get("/admin/").content.decode()

    assert {"beat": "Celery beat is not running", "worker": "No Celery worker is running"}[part] in page
    assert (part.label, False, "not running") in dashboard(admin_client)["services"]


def test_a_redis_that_does_not_answer_is_a_warning(admin_client, some_chats, settings):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"

    assert "Redis does not answer" in admin_client.get("/admin/").content.decode()


def test_all_being_well_nothing_warns(admin_client, some_chats):
    ProviderConfig.objects.update(default_model="m")

    page = admin_client.get("/admin/").content.decode()

    assert "ov-warnings" not in page
    assert "1 healthy" in page
    assert "Outdated" not in page


def test_what_was_not_checked_is_not_called_well(admin_client, some_chats):
    ProviderConfig.objects.update(health=Health.UNKNOWN)
    make_providers(1, health=Health.HEALTHY, enabled=False)

    assert dashboard(admin_client)["providers_state"].endswith("not checked, 1 disabled")


def test_sums_that_are_late_say_so(admin_client):
    now = timezone.now()
    Chat.objects.bulk_create([served(now - timedelta(minutes=70))])
    roll_up(now=now - timedelta(minutes=4))

    assert "Outdated.</strong> Updated" in admin_client.get("/admin/").content.decode()


def test_chats_that_were_never_summed_say_so(admin_client):
    Chat.objects.bulk_create([served(timezone.now())])

    page = admin_client.get("/admin/").content.decode()

    assert "No usage data yet" in page
    assert "Three steps" not in page


def test_a_period_without_chats_says_so_and_draws_nothing(admin_client):
    sum_up(served(timezone.now() - timedelta(days=5)))

    page = admin_client.get("/admin/").content.decode()

    assert "No chats in this period." in page
    assert "<canvas" not in page


def test_the_first_run_shows_three_steps_with_those_done_ticked(admin_client):
    ApiKey.objects.issue(Application.objects.create(name="bot"), name="one", scopes=["chat"])
    ProviderConfig.objects.update(health=Health.UNKNOWN)

    answer = admin_client.get("/admin/")

    steps, page = answer.context["dashboard"]["steps"], answer.content.decode()
    assert [step.is_done for step in steps] == [False, True, False]
    assert [admin_client.get(step.url).status_code for step in steps] == [200] * 3
    assert "curl http://testserver/api/chat/multi" in page
    assert "<canvas" not in page


def test_a_step_that_someone_may_not_take_has_no_link(db):
    steps = dashboard(member_of("Reviewer"))["steps"]

    assert [step.url for step in steps] == ["", "", ""]


@pytest.mark.parametrize("group", ["Admin", "Operator"])
def test_a_step_that_someone_may_take_has_a_page(group):
    client = member_of(group)

    assert [client.get(step.url).status_code for step in dashboard(client)["steps"]] == [200] * 3


def test_only_the_first_ten_providers_in_need_are_listed(admin_client, some_chats):
    make_providers(14, health=Health.UNHEALTHY, last_error="refused")

    shown = dashboard(admin_client)

    assert (len(shown["attention"]), shown["more_attention"]) == (10, 4)
    assert all(admin_client.get(url).status_code == 200 for _, url in shown["attention"][:1])


def make_providers(count: int, **fields: Any) -> None:
    ProviderConfig.objects.bulk_create(
        ProviderConfig(name=f"p{n}", provider_type="custom", base_url="http://127.0.0.1:9/v1", **fields)
        for n in range(count)
    )


def test_markup_in_names_is_inert(admin_client):
    names = dict.fromkeys(("provider", "model_name", "application", "error_type", "error_code"), MARKUP)
    sum_up(failed(timezone.now(), **names))
    make_providers(1, health=Health.UNHEALTHY, last_error=MARKUP)

    page = admin_client.get("/admin/").content.decode()

    assert MARKUP not in page
    assert page.count(escape(MARKUP)) >= 5


def test_a_hundred_of_everything_take_as_many_queries_as_one(admin_client):
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            admin_client.get("/admin/")
        return len(queries)

    sum_up(served(timezone.now()), failed(timezone.now()))
    count()
    for_one = count()
    make_providers(100, health=Health.UNHEALTHY, last_error="refused")
    names: Callable[[int], dict[str, str]] = lambda n: {"provider": f"p{n}", "application": f"a{n}"}  # noqa: E731
    sum_up(*(make(timezone.now(), **names(n)) for n in range(100) for make in (served, failed)))

    assert count() == for_one <= 16
