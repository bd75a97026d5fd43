from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from llmhub.access.authentication import ApiKeyAuthentication
from llmhub.access.last_used import give_back, note_use, take_uses
from llmhub.access.last_used_writer import UseWriter, write_uses
from llmhub.access.models import ApiKey, Application
from llmhub.runtime.database import conninfo
from tests.live import until

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def nothing_noted() -> Iterator[None]:
    take_uses()
    yield
    take_uses()


def issue(name: str = "production", **fields) -> tuple[ApiKey, str]:
    application, _ = Application.objects.get_or_create(name="support-bot")
    return ApiKey.objects.issue(application, name=name, scopes=["chat"], **fields)


def last_use(key: ApiKey) -> datetime | None:
    return ApiKey.objects.values_list("last_used_at", flat=True).get(pk=key.pk)


def authenticate(secret: str) -> None:
    ApiKeyAuthentication().authenticate(Request(APIRequestFactory().get("/", headers={"x-api-key": secret})))


def test_what_is_noted_is_taken_once_and_the_latest_counts():
    note_use("a", NOON)
    note_use("a", LATER)
    note_use("b", NOON)

    assert take_uses() == {"a": LATER, "b": NOON}
    assert take_uses() == {}


def test_what_is_given_back_does_not_hide_a_later_use():
    note_use("a", LATER)

    give_back({"a": NOON, "b": NOON})

    assert take_uses() == {"a": LATER, "b": NOON}


def test_nothing_is_lost_of_what_others_note_meanwhile():
    def note() -> None:
        for number in range(2000):
            note_use(f"{number}", NOON)

    noting = threading.Thread(target=note)
    noting.start()
    taken: dict[str, datetime] = {}
    while noting.is_alive():
        taken |= take_uses()
    taken |= take_uses()

    assert len(taken) == 2000


@pytest.mark.django_db
def test_the_api_notes_a_key_that_it_lets_in_and_no_other():
    used, secret = issue()
    revoked, revoked_secret = issue("revoked", revoked_at=NOON)

    authenticate(secret)
    for refused in (revoked_secret, "lh_nobody-knows-me"):
        with pytest.raises(AuthenticationFailed):
            authenticate(refused)

    assert list(take_uses()) == [used.digest]
    assert last_use(revoked) is None


@pytest.mark.django_db
def test_one_query_writes_all_and_only_later_times(django_assert_num_queries):
    new, ahead, behind = issue("new")[0], issue("ahead", last_used_at=LATER)[0], issue("behind", last_used_at=NOON)[0]

    with django_assert_num_queries(1):
        moved = ApiKey.objects.mark_used({new.digest: NOON, ahead.digest: NOON, behind.digest: LATER, "gone": NOON})

    assert moved == 2
    assert [last_use(key) for key in (new, ahead, behind)] == [NOON, LATER, LATER]


@pytest.mark.django_db
def test_nothing_noted_asks_the_database_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert write_uses() == 0


@pytest.mark.django_db
def test_a_use_is_no_change_of_the_configuration():
    key, _ = issue()
    before = key.events.count()

    ApiKey.objects.mark_used({key.digest: NOON})
    after = key.events.count()
    ApiKey.objects.filter(pk=key.pk).revoke(now=NOON)

    assert (before, after, key.events.count()) == (1, 1, 2)


@pytest.mark.django_db(transaction=True)
def test_a_use_is_announced_to_nobody():
    key, _ = issue()
    with psycopg.connect(conninfo(), autocommit=True) as listener:
        listener.execute("LISTEN llmhub_config")

        ApiKey.objects.mark_used({key.digest: NOON})
        with connection.cursor() as cursor:
            cursor.execute("NOTIFY llmhub_config, 'the next one'")

        assert [n.payload for n in listener.notifies(timeout=5, stop_after=1)] == ["the next one"]


def mark_in_this_order(*keys: ApiKey) -> None:
    ApiKey.objects.mark_used({key.digest: NOON for key in keys})
    connection.close()


def is_somebody_kept_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_rows_are_locked_by_id_so_that_no_two_processes_wait_for_each_other():
    first, second = issue("first")[0], issue("second")[0]
    ApiKey.objects.filter(pk=first.pk).update(name="now behind the second in the table's file")
    writer = threading.Thread(target=mark_in_this_order, args=(second, first))

    with transaction.atomic():
        ApiKey.objects.select_for_update().get(pk=first.pk)
        writer.start()
        until(is_somebody_kept_waiting)
        ApiKey.objects.select_for_update(nowait=True).get(pk=second.pk)
    writer.join()

    assert [last_use(key) for key in (first, second)] == [NOON, NOON]


@pytest.mark.django_db(transaction=True)
def test_the_writer_writes_again_and_again():
    key, _ = issue()
    writer = UseWriter(every_s=0.01)
    writer.start()

    for at in (NOON, LATER):
        note_use(key.digest, at)
        until(lambda at=at: last_use(key) == at)
    writer.stop()


@pytest.mark.django_db(transaction=True)
def test_a_stop_writes_what_is_noted():
    key, _ = issue()
    writer = UseWriter(every_s=3600)
    writer.start()
    note_use(key.digest, NOON)

    writer.stop()

    assert last_use(key) == NOON


@pytest.mark.django_db(transaction=True)
def test_what_a_database_that_is_away_did_not_take_is_written_later(caplog):
    key, _ = issue()
    note_use(key.digest, NOON)
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = "/nowhere"
    try:
        away = write_uses()
    finally:
        connection.settings_dict["HOST"] = host

    assert (away, write_uses(), last_use(key)) == (0, 1, NOON)
    assert [record.getMessage() for record in caplog.records] == [
        "Could not write when keys were last used (OperationalError); trying again later."
    ]
    assert key.digest not in caplog.text


def test_a_chat_is_noted_and_waits_for_no_row(hub, upstream):
    hub.add_provider(upstream, name="up")
    secret = hub.issue_key()
    key, began_at = ApiKey.objects.get(), timezone.now()
    body = {"model": "up/m", "messages": [{"role": "user", "content": "Who is there?"}]}

    with transaction.atomic():
        ApiKey.objects.select_for_update().get()
        answer = hub.client.post("/v1/chat/completions", json=body, headers=hub.headers(secret))

    assert (answer.status_code, write_uses()) == (200, 1)
    assert began_at <= last_use(key) <= timezone.now()


@pytest.mark.parametrize("path", ["/v1/models", "/api/providers"])
def test_every_way_in_counts_as_a_use(hub, path):
    secret = hub.issue_key()

    answer = hub.client.get(path, headers=hub.headers(secret))
    write_uses()

    assert answer.status_code == 200
    assert last_use(ApiKey.objects.get()) is not None
