import datetime as dt

import pytest
from django.db import connection

from chat.ledger.append import append_event
from chat.ledger.partitions import ensure_partitions
from tests.chat.conftest import ledger_partitions
from tests.chat.ledger.samples import make_intent, new_chat_id

pytestmark = pytest.mark.django_db


def month_names(*, ahead):
    now = dt.datetime.now(dt.UTC)
    months = [now.year * 12 + now.month - 1 + n for n in range(ahead + 1)]
    suffixes = [f"{month // 12}_{month % 12 + 1:02}" for month in months]
    return {f"{table}_{suffix}" for table in ("ledger_ledgerevent", "ledger_chatcontent") for suffix in suffixes}


def test_this_month_and_the_next_three_are_there_from_the_start():
    assert month_names(ahead=3) <= set(ledger_partitions())


def test_missing_months_are_made_once():
    made = ensure_partitions(months_ahead=14)

    assert set(made) == month_names(ahead=14) - month_names(ahead=3)
    assert ensure_partitions(months_ahead=14) == []
    assert month_names(ahead=14) <= set(ledger_partitions())


def test_bounds_meet_without_a_gap():
    ensure_partitions(months_ahead=14)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class "
            "WHERE relispartition AND relkind = 'r' AND relname LIKE 'ledger_ledgerevent_%' ORDER BY relname"
        )
        bounds = [expr.split("'")[1::2] for (expr,) in cursor.fetchall()]
    assert [end for _, end in bounds[:-1]] == [start for start, _ in bounds[1:]]


def test_a_new_partition_has_every_index_and_guard_of_the_first():
    ensure_partitions(months_ahead=4)

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), count(DISTINCT indexes), count(DISTINCT triggers) FROM ("
            "  SELECT relname,"
            "    (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) AS indexes,"
            "    (SELECT string_agg(tgname || tgenabled::text, ',' ORDER BY tgname)"
            "     FROM pg_trigger WHERE tgrelid = c.oid) AS triggers"
            "  FROM pg_class c WHERE relispartition AND relkind = 'r' AND relname LIKE 'ledger_ledgerevent_%') AS p"
        )
        partitions, index_sets, trigger_sets = cursor.fetchone()
    assert partitions >= 5
    assert (index_sets, trigger_sets) == (1, 1)


def test_an_event_makes_the_partition_that_nobody_made():
    with connection.cursor() as cursor:
        for name in ledger_partitions():
            cursor.execute(f"DROP TABLE {name}")

    append_event(make_intent(new_chat_id()))

    assert month_names(ahead=0) <= set(ledger_partitions())


@pytest.mark.parametrize("months_ahead", [-1, 25])
def test_an_absurd_number_of_months_is_refused(months_ahead):
    with pytest.raises(Exception, match="Between 0 and 24"):
        ensure_partitions(months_ahead=months_ahead)


def test_bodies_are_compressed_the_cheapest_way_that_the_server_knows():
    with connection.cursor() as cursor:
        cursor.execute("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
        cheapest = "l" if "lz4" in cursor.fetchone()[0] else ""
        cursor.execute(
            "SELECT DISTINCT attcompression FROM pg_attribute JOIN pg_inherits ON attrelid = inhrelid "
            "WHERE inhparent = 'ledger_chatcontent'::regclass AND attname = 'body'"
        )

        assert cursor.fetchall() == [(cheapest,)]
