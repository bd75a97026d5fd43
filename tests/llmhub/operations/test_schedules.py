"""Periodic tasks in the admin: when, how they ended, and doing it now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import current_app
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks
from redis import Redis

from llmhub.operations.models import Heartbeat, Service, TaskResult
from llmhub.operations.schedule_text import next_run_text, schedule_text
from llmhub.operations.task_results import error_message, store_result
from providers.errors import UnreachableError
from providers.models import HealthCheck, ProviderConfig
from tests.admin_pages import said
from tests.people import member_of

pytestmark = pytest.mark.django_db

LIST = "/admin/django_celery_beat/periodictask/"
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
QUEUE = "llmhub-tests"


@pytest.fixture
def task() -> PeriodicTask:
    """One that is sent to where no worker listens."""
    PeriodicTask.objects.filter(task="providers.tasks.check_health").update(queue=QUEUE)
    return PeriodicTask.objects.get(task="providers.tasks.check_health")


@pytest.fixture
def sent() -> Iterator[Any]:
    """The messages that wait in the queue."""
    with Redis.from_url(current_app.conf.broker_url) as redis:
        redis.delete(QUEUE)
        yield lambda: redis.lrange(QUEUE, 0, -1)
        redis.delete(QUEUE)


def url_to(action: str, task: PeriodicTask) -> str:
    return reverse("admin:django_celery_beat_periodictask_do", args=[task.pk, action])


def run(client: Client, task: PeriodicTask) -> list[str]:
    return said(client.post(url_to("run_now", task), follow=True))


def make_task(**fields: Any) -> PeriodicTask:
    return PeriodicTask(name="t", task="t", enabled=True, date_changed=NOW, **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"interval": IntervalSchedule(every=60, period="seconds")}, "every 60 seconds", id="interval"),
        pytest.param({"crontab": CrontabSchedule(minute="30", hour="4")}, "At 04:30 AM UTC", id="crontab"),
        pytest.param({"clocked": ClockedSchedule(clocked_time=NOW)}, "once, at 4 Mar 2026, 12:00:00 UTC", id="clock"),
    ],
)
def test_a_schedule_is_told_in_words(fields, words):
    assert schedule_text(make_task(**fields)) == words


MINUTE = IntervalSchedule(every=60, period="seconds")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"last_run_at": NOW - timedelta(seconds=20)}, "4 Mar 2026, 12:00:40 UTC", id="soon"),
        pytest.param({"last_run_at": NOW - timedelta(seconds=60)}, "due now", id="due"),
        pytest.param({}, "4 Mar 2026, 12:01:00 UTC", id="never-run"),
        pytest.param({"enabled": False}, "never: disabled", id="disabled"),
        pytest.param({"expires": NOW}, "never: expired", id="expired"),
        pytest.param({"one_off": True, "total_run_count": 1}, "never: already ran", id="done"),
        pytest.param({"start_time": NOW + timedelta(days=1)}, "5 Mar 2026, 12:00:00 UTC", id="later"),
    ],
)
def test_the_next_run_is_reckoned_as_beat_does(fields, words):
    task = make_task(interval=MINUTE)
    for name, value in fields.items():
        setattr(task, name, value)

    assert next_run_text(task, now=NOW) == words


def test_a_crontabs_next_run_is_at_its_hour():
    crontab, now = CrontabSchedule(minute="30", hour="4"), timezone.now()
    words = next_run_text(make_task(crontab=crontab, last_run_at=now), now=now)

    assert ", 04:30:00 UTC" in words or ", 04:29:59 UTC" in words


def test_a_clocked_task_runs_at_its_time():
    clocked = ClockedSchedule(clocked_time=NOW + timedelta(hours=1))

    assert next_run_text(make_task(clocked=clocked, one_off=True), now=NOW) == "4 Mar 2026, 13:00:00 UTC"


def test_the_list_tells_how_a_task_ended(admin_client, task):
    TaskResult.objects.note(task.name, started_at=NOW, finished_at=NOW + timedelta(seconds=2), error="KeyError")

    page = admin_client.get(LIST).content.decode()

    assert "failed: KeyError" in page
    assert "took 2.0 s, 4 Mar 2026, 12:00:02 UTC" in page
    assert "–" in page


def test_run_now_sends_the_task_with_its_arguments(admin_client, task, sent):
    PeriodicTask.objects.filter(pk=task.pk).update(
        task="providers.tasks.probe_and_refresh", kwargs='{"provider_id": 4711}'
    )
    Heartbeat.objects.beat(Service.WORKER, now=timezone.now())

    words = run(admin_client, task)

    (message,) = sent()
    assert words == ["1 sent. The result appears here in a moment."]
    assert b"providers.tasks.probe_and_refresh" in message
    assert b"'provider_id': 4711" in message
    assert b'"periodic_task_name": "Check the health of providers"' in message


def test_run_now_says_when_nobody_works(admin_client, task, sent):
    words = run(admin_client, task)

    assert len(sent()) == 1
    assert words[1] == "No worker is running: the tasks wait in the queue. Start a worker."


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"task": "no.such.task"}, "the task no.such.task is unknown.", id="unknown"),
        pytest.param({"kwargs": "{"}, "its arguments are not valid JSON.", id="json"),
        pytest.param({"args": "[1, 2, 3]"}, "the task does not accept these arguments.", id="arguments"),
    ],
)
def test_what_cannot_be_sent_is_told(admin_client, task, sent, fields, reason):
    PeriodicTask.objects.filter(pk=task.pk).update(**fields)

    assert run(admin_client, task) == [f"Check the health of providers was not sent: {reason}"]

    assert sent() == []


def test_several_are_run_at_once(admin_client, sent):
    PeriodicTask.objects.update(queue=QUEUE)
    chosen = list(PeriodicTask.objects.values_list("pk", flat=True)[:3])

    admin_client.post(LIST, {"action": "run_now", "_selected_action": chosen}, follow=True)

    assert len(sent()) == 3


def test_a_switch_tells_beat(admin_client, task):
    before = PeriodicTasks.last_change()

    words = said(admin_client.post(url_to("disable", task), follow=True))

    task.refresh_from_db()
    assert (task.enabled, words) == (False, ["1 disabled."])
    assert PeriodicTasks.last_change() > before


@pytest.mark.parametrize("action", ["run_now", "enable", "disable"])
def test_a_link_alone_changes_nothing(admin_client, task, action):
    assert admin_client.get(url_to(action, task)).status_code == 405


def test_only_who_may_change_a_task_runs_it(task, sent):
    client = member_of()

    statuses = [client.post(url_to(action, task)).status_code for action in ("run_now", "disable")]

    assert statuses == [403, 403]
    assert sent() == []


def test_an_answer_never_leads_elsewhere(admin_client, task, sent):
    wanted = ("https://evil.example/", f"{LIST}{task.pk}/change/")

    answers = [admin_client.post(url_to("run_now", task), {"next": where}) for where in wanted]

    assert [answer.headers["location"] for answer in answers] == [LIST, f"{LIST}{task.pk}/change/"]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [("args", "{}", "This must be a JSON list."), ("kwargs", "nothing", "This must be a JSON object.")],
)
def test_arguments_are_checked(admin_client, task, field, value, error):
    sent = {"name": "t", "task": task.task, "interval": task.interval_id, "args": "[]", "kwargs": "{}", field: value}

    answer = admin_client.post(f"{LIST}{task.pk}/change/", sent)

    assert answer.context["adminform"].form.errors == {field: [error]}


def test_no_page_of_a_task_has_a_script_of_its_own(admin_client, task):
    page = admin_client.get(f"{LIST}{task.pk}/change/").content.decode()

    assert "<script>" not in page
    assert "periodic-task-overrides" not in page


def test_a_periodic_task_that_ran_leaves_its_result(task):
    ProviderConfig.objects.update(enabled=False)
    headers = {"periodic_task_name": task.name}

    current_app.tasks[task.task].apply(headers=headers)

    result = TaskResult.objects.get()
    assert (result.name, result.error, HealthCheck.objects.count()) == (task.name, "", 0)


def test_a_result_is_kept_once_for_each_task(task):
    for error in ("KeyError", ""):
        store_result(task.name, started_at=timezone.now(), error=error)

    assert [result.error for result in TaskResult.objects.all()] == [""]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        pytest.param({"acme": True}, "", id="well"),
        pytest.param(KeyError("sk-canary-4711"), "KeyError", id="foreign"),
        pytest.param(
            UnreachableError("acme refused the connection."),
            "UnreachableError: acme refused the connection.",
            id="ours",
        ),
    ],
)
def test_an_error_is_told_by_what_may_be_shown(outcome, words):
    assert error_message(outcome) == words


CRONTABS, INTERVALS = "/admin/django_celery_beat/crontabschedule/", "/admin/django_celery_beat/intervalschedule/"
EVERY_MINUTE = dict.fromkeys(("minute", "hour", "day_of_month", "month_of_year", "day_of_week"), "*")


@pytest.mark.parametrize(
    "never",
    [
        pytest.param({"day_of_month": "30", "month_of_year": "2"}, id="30-february"),
        pytest.param({"day_of_month": "31", "month_of_year": "2,4,6,9,11"}, id="31-of-short-months"),
        pytest.param({"day_of_month": "30,31", "month_of_year": "2", "day_of_week": "1"}, id="on-mondays"),
    ],
)
def test_a_crontab_that_never_comes_true_is_refused_with_the_reason(admin_client, never):
    answer = admin_client.post(f"{CRONTABS}add/", {**EVERY_MINUTE, "timezone": "UTC", **never})

    assert answer.status_code == 200
    assert "This never matches" in answer.content.decode()


@pytest.mark.parametrize("rare", [{"day_of_month": "29", "month_of_year": "2", "day_of_week": "1"}, {"minute": "59"}])
def test_a_crontab_that_comes_true_now_and_then_is_saved(admin_client, rare):
    assert admin_client.post(f"{CRONTABS}add/", {**EVERY_MINUTE, "timezone": "UTC", **rare}).status_code == 302


@pytest.mark.parametrize(
    ("every", "period", "status"),
    [
        pytest.param(999_999_999, "days", 200, id="beyond-all-time"),
        pytest.param(367, "days", 200, id="over-a-year"),
        pytest.param(2_147_483_647, "hours", 200, id="in-hours"),
        pytest.param(366, "days", 302, id="a-year"),
        pytest.param(2_147_483_647, "microseconds", 302, id="in-microseconds"),
    ],
)
def test_an_interval_is_at_most_a_year(admin_client, every, period, status):
    answer = admin_client.post(f"{INTERVALS}add/", {"every": every, "period": period})

    assert answer.status_code == status
    assert ("at most 366 days" in answer.content.decode()) == (status == 200)


def test_a_fixed_time_that_has_passed_is_refused(admin_client):
    sent = {"clocked_time_0": "2020-01-01", "clocked_time_1": "12:00"}
    answer = admin_client.post("/admin/django_celery_beat/clockedschedule/add/", sent)

    assert "This is in the past" in answer.content.decode()


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        pytest.param("", "2020-01-01", "in the past: the task would never run", id="over"),
        pytest.param("2999-01-02", "2999-01-01", "before the start", id="ends-before-it-begins"),
    ],
)
def test_a_task_that_ends_before_it_can_run_is_refused(admin_client, task, start, end, words):
    sent = {"name": task.name, "task": task.task, "interval": task.interval_id, "args": "[]", "kwargs": "{}"}
    times = {"start_time_0": start, "start_time_1": start and "12:00", "expires_0": end, "expires_1": "12:00"}

    answer = admin_client.post(f"{LIST}{task.pk}/change/", sent | times)

    assert words in answer.content.decode()


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(lambda: {"crontab": CrontabSchedule.objects.create(day_of_month="30", month_of_year="2")}, id="d"),
        pytest.param(lambda: {"crontab": CrontabSchedule.objects.create(minute="99")}, id="minute"),
        pytest.param(lambda: {"crontab": CrontabSchedule.objects.create(hour="nonsense")}, id="words"),
        pytest.param(lambda: {"crontab": CrontabSchedule.objects.create(month_of_year="13")}, id="month"),
        pytest.param(lambda: {"crontab": CrontabSchedule.objects.create(day_of_week="")}, id="empty"),
        pytest.param(lambda: {"interval": IntervalSchedule.objects.create(every=999_999_999, period="days")}, id="i"),
        pytest.param(lambda: {"interval": IntervalSchedule.objects.create(every=-5, period="days")}, id="negative"),
        pytest.param(lambda: {"interval": IntervalSchedule.objects.create(every=1, period="fortnights")}, id="unit"),
    ],
)
def test_pages_survive_schedules_that_no_form_has_seen(admin_client, schedule):
    task = PeriodicTask(name="odd", task="t", date_changed=NOW, **schedule())
    PeriodicTask.objects.bulk_create([task])

    answers = [admin_client.get(page) for page in (LIST, f"{LIST}{task.pk}/change/", CRONTABS, INTERVALS)]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert "odd" in answers[0].content.decode()
