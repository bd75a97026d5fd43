from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.test import Client
from django.urls import reverse

from llmhub.access.principals import Scope
from providers.models import ConnectionTest, ConnectionTestOutcome, ConnectionTestSource, ProviderConfig
from tests import fakes
from tests.clients import client_with
from tests.fakes import Answer, FakeProvider
from tests.people import member_of
from tests.providers.admin.rows import KEY, LIST, act, add, fields_of, page_of

pytestmark = pytest.mark.django_db

TESTS = "/admin/providers/connectiontest/"
TABLES = ("providers_connectiontest", "providers_connectiontestoutcome")


@pytest.fixture(autouse=True)
def nothing_tested_yet(db: None) -> None:
    """Begin with none: what a running hub has recorded stays, as only the owner can take it away."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER no_truncate")
        cursor.execute(f"TRUNCATE {', '.join(TABLES)}")
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER no_truncate")


def try_it(client: Client, row: ProviderConfig, **changes: Any) -> str:
    url = reverse("admin:providers_providerconfig_try", args=[row.pk])
    return str(client.post(url, fields_of(row, **changes), REMOTE_ADDR="192.0.2.7").content.decode())


def check_by_page(row: ProviderConfig) -> str:
    act(member_of("Operator"), "check_now", row)
    return "somebody-Operator"


def check_by_api(row: ProviderConfig) -> str:
    client_with(Scope.PROVIDERS_WRITE).post(f"/api/providers/{row.name}/check")
    return "tester ("


def try_by_form(row: ProviderConfig) -> str:
    try_it(member_of("Operator"), row)
    return "somebody-Operator"


WAYS = pytest.mark.parametrize(
    ("ask", "through"), [(try_by_form, "form"), (check_by_page, "check"), (check_by_api, "api")]
)


@WAYS
def test_it_is_recorded_who_asked_from_where_with_which_key_and_what_came_of_it(
    ask: Callable[[ProviderConfig], str], through: str
) -> None:
    with FakeProvider("openai", api_key=KEY) as fake:
        row = add(base_url=fake.url, provider_type="openai", api_key=KEY, default_model="fake-large")
        actor = ask(row)

    test = ConnectionTest.objects.select_related("outcome").get(provider=row.name)
    assert test.actor.startswith(actor)
    assert test.address in {"127.0.0.1", "192.0.2.7"}
    assert (test.through, test.key) == (through, "stored")
    assert (test.provider_type, test.base_url) == ("openai", fake.url)
    assert test.outcome.ok
    assert test.at <= test.outcome.at


@WAYS
def test_a_failure_is_recorded_in_words_and_without_the_key(ask: Callable[[ProviderConfig], str], through: str) -> None:
    with FakeProvider("openai") as fake:
        fake.probe_faults.append(fakes.status(401, f"No such key: {KEY}"))
        ask(add(base_url=fake.url, provider_type="openai", api_key=KEY))

    outcome = ConnectionTest.objects.select_related("outcome").get(through=through).outcome
    assert not outcome.ok
    assert "No such key" in outcome.words
    assert KEY not in repr(ConnectionTestOutcome.objects.values()) + repr(ConnectionTest.objects.values())


@pytest.mark.parametrize(
    ("stored", "entered", "key"),
    [(KEY, "", "stored"), (KEY, "sk-typed", "entered"), ("", "sk", "entered"), ("", "", "none")],
)
def test_it_is_recorded_which_key_a_trial_used(
    admin_client: Client, upstream: FakeProvider, stored: str, entered: str, key: str
) -> None:
    try_it(admin_client, add("up", upstream.url, api_key=stored), api_key=entered)

    assert ConnectionTest.objects.get(provider="up").key == key


def test_the_address_that_is_recorded_is_the_one_of_the_form(admin_client: Client, upstream: FakeProvider) -> None:
    try_it(admin_client, add("up"), base_url=upstream.url)

    test = ConnectionTest.objects.get(provider="up")
    assert (test.base_url, test.address, test.actor) == (upstream.url, "192.0.2.7", "admin")


def test_a_trial_of_what_is_not_saved_is_recorded_too(admin_client: Client, upstream: FakeProvider) -> None:
    sent = {"name": "new", "provider_type": "custom", "base_url": upstream.url, "timeout": 60, "priority": 1}
    admin_client.post(f"{LIST}add/try/", sent)

    assert ConnectionTest.objects.get(base_url=upstream.url).provider == "new"


def test_what_is_not_sent_is_no_test(admin_client: Client, upstream: FakeProvider) -> None:
    row = add("up", upstream.url, api_key=KEY)

    try_it(admin_client, row, base_url="https://elsewhere.example/v1")

    assert not ConnectionTest.objects.exists()


@pytest.mark.django_db(transaction=True)
@WAYS
def test_the_record_is_there_before_the_request_goes_out(ask: Callable[[ProviderConfig], str], through: str) -> None:
    found = []

    def committed() -> list[Any]:
        try:
            return list(ConnectionTest.objects.filter(base_url=fake.url).values_list("through", "outcome__ok"))
        finally:
            connection.close()

    def look(answer: Answer) -> Answer:
        with ThreadPoolExecutor(max_workers=1) as pool:
            found.append(pool.submit(committed).result(timeout=5))
        return answer

    with FakeProvider("custom") as fake:
        fake.probe_faults.append(look)
        ask(add(base_url=fake.url))

    assert found == [[(through, None)]]


@pytest.fixture
def no_record_possible() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'No space left' USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER full_disk BEFORE INSERT ON providers_connectiontest EXECUTE FUNCTION full_disk()"
        )


@WAYS
def test_without_a_record_no_test_is_made(
    no_record_possible: None, upstream: FakeProvider, ask: Callable[[ProviderConfig], str], through: str
) -> None:
    ask(add("up", upstream.url))

    assert upstream.requests == []


def test_it_is_told_that_no_record_is_possible(
    no_record_possible: None, admin_client: Client, upstream: FakeProvider
) -> None:
    row = add("up", upstream.url)

    answer = client_with(Scope.PROVIDERS_WRITE).post("/api/providers/up/check")

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "record_unavailable")
    assert "cannot be recorded" in try_it(admin_client, row)
    assert act(admin_client, "check_now", row) == ["The connection test cannot be recorded now, so it was not run."]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE providers_connectiontest SET actor = 'another'",
        "DELETE FROM providers_connectiontest",
        "TRUNCATE providers_connectiontest CASCADE",
        "UPDATE providers_connectiontestoutcome SET ok = true",
        "DELETE FROM providers_connectiontestoutcome",
        "TRUNCATE providers_connectiontestoutcome",
        "SET LOCAL session_replication_role = 'replica'; DELETE FROM providers_connectiontestoutcome",
    ],
)
def test_nobody_changes_or_takes_back_what_is_recorded(statement: str) -> None:
    ConnectionTest.objects.begin(add(), actor="ann", address="", through=ConnectionTestSource.FORM).end(
        ok=False, words="refused"
    )

    with pytest.raises(ProgrammingError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize("table", ["providers_connectiontest", "providers_connectiontestoutcome"])
def test_the_application_may_only_add_and_look(table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS privilege "
            "WHERE has_table_privilege('llmhub_app', %s, privilege)",
            [table],
        )
        assert {row[0] for row in cursor.fetchall()} == {"SELECT", "INSERT"}


def test_nobody_dates_a_record_back() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO providers_connectiontest "
            "(at, actor, address, through, provider, provider_type, base_url, key) "
            "VALUES ('2020-01-01', 'ann', '', 'form', '', 'custom', 'http://x', 'none') RETURNING at"
        )
        assert cursor.fetchone()[0].year > 2020


def test_the_tests_of_a_provider_are_listed_from_its_page(admin_client: Client, upstream: FakeProvider) -> None:
    row, other = add("up", upstream.url), add("other", upstream.url)
    try_it(admin_client, row)
    try_it(admin_client, other, base_url="http://127.0.0.1:9/v1")
    begun = ConnectionTest.objects.begin(row, actor="cut-short", address="", through=ConnectionTestSource.API)

    page = admin_client.get(page_of(row)).content.decode()
    listed = admin_client.get(f"{TESTS}?provider=up").content.decode()
    everything = admin_client.get(TESTS).content.decode()

    assert f"{TESTS}?provider=up" in page
    assert upstream.url in listed
    assert "127.0.0.1:9" not in listed
    assert "connection refused" in everything
    assert "unknown" in everything
    assert admin_client.get(f"{TESTS}{begun.pk}/change/").status_code == 200
