"""Worker and beat as they are run in production, against real PostgreSQL and Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from redis import Redis

from chat.history.models import RolledBucket
from llmhub.celery import app
from llmhub.embedded.services import BEAT_OPTIONS, WORKER_OPTIONS
from llmhub.operations.models import Heartbeat, Service, TaskResult
from llmhub.operations.tasks import delete_expired_sessions
from llmhub.runtime.database import conninfo
from providers.models import Health, ProviderConfig
from tests.live import until

STARTS_WITHIN_S = 30.0


@contextmanager
def running(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "-A", "llmhub", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment(), stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """Name the test's own databases to a process beside it."""
    return os.environ | {"DATABASE_URL": conninfo(), "REDIS_URL": redis_url()}


def redis_url() -> str:
    return urlsplit(settings.REDIS_URL)._replace(path="/15").geturl()


@pytest.fixture
def no_messages() -> Iterator[None]:
    """Leave nothing in a Redis database that no other test uses."""
    yield
    with Redis.from_url(redis_url()) as redis:
        redis.flushdb()


@pytest.mark.django_db(transaction=True)
def test_worker_and_beat_show_that_they_live_and_do_what_is_due(tmp_path, upstream, no_messages):
    ProviderConfig.objects.update(provider_type="custom", base_url=upstream.url)
    long_ago = timezone.now() - timedelta(hours=1)
    PeriodicTask.objects.filter(task="providers.tasks.check_health").update(last_run_at=long_ago)
    PeriodicTask.objects.filter(task="providers.tasks.refresh_models").update(enabled=False, expire_seconds=7)
    PeriodicTask.objects.filter(task="chat.history.tasks.usage_rollup").update(last_run_at=timezone.now())
    schedules = set(PeriodicTask.objects.values_list("task", "enabled", "expire_seconds"))

    with (
        running(tmp_path / "worker.log", "worker", *WORKER_OPTIONS) as worker,
        running(tmp_path / "beat.log", "beat", *BEAT_OPTIONS) as beat,
    ):
        until(lambda: Heartbeat.objects.alive(now=timezone.now()) == set(Service), within_s=STARTS_WITHIN_S)
        until(lambda: ProviderConfig.objects.get().health == Health.HEALTHY, within_s=STARTS_WITHIN_S)
        until(RolledBucket.objects.exists, within_s=STARTS_WITHIN_S)
        until(lambda: TaskResult.objects.filter(name="Check the health of providers", error="").exists())
        for process in (worker, beat):
            process.send_signal(signal.SIGTERM)

        assert [worker.wait(10), beat.wait(10)] == [0, 0]
    assert len(upstream.requests) == 1
    assert set(PeriodicTask.objects.values_list("task", "enabled", "expire_seconds")) == schedules
    assert b"Traceback" not in (tmp_path / "worker.log").read_bytes() + (tmp_path / "beat.log").read_bytes()


@pytest.mark.django_db
def test_every_schedule_names_a_task_that_exists():
    app.loader.import_default_modules()

    tasks = set(PeriodicTask.objects.values_list("task", flat=True))

    assert len(tasks) == 8
    assert tasks <= set(app.tasks)


@pytest.mark.django_db
def test_every_scheduled_task_runs():
    app.loader.import_default_modules()
    ProviderConfig.objects.update(enabled=False)

    for name in PeriodicTask.objects.values_list("task", flat=True):
        app.tasks[name]()

    assert Heartbeat.objects.alive(now=timezone.now()) == {Service.WORKER}


@pytest.mark.django_db
def test_expired_sessions_are_deleted_and_others_stay():
    now = timezone.now()
    for key, expires_at in (("gone", now - timedelta(seconds=1)), ("here", now + timedelta(hours=1))):
        Session.objects.create(session_key=key, session_data="", expire_date=expires_at)

    assert delete_expired_sessions() >= 1
    assert not Session.objects.filter(expire_date__lt=now).exists()
    assert Session.objects.filter(session_key="here").exists()
