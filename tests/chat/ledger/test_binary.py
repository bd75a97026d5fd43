from __future__ import annotations

import re

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat.ledger.binary import binary_parameters, parameters_of_one, register_binary
from chat.ledger.content import Content
from chat.ledger.entries import LedgerEntry, WriterIdentity, append_parameters
from llmhub.runtime.database import conninfo
from llmhub.runtime.uuid7 import uuid7

TAKEN = "%b::uuid, %b::bytea, %b::text[], %b::uuid[], %b::text[], %b::bytea[], %b::text[], %b::bytea[], %b::bigint[]"
STORABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
CONTENTS = st.builds(
    Content,
    body=st.binary(max_size=40),
    files=STORABLE,
    salt=st.binary(max_size=32),
    commitment=st.just(""),
    size_bytes=st.integers(0, 2**63 - 1),
)
ENTRIES = st.builds(
    LedgerEntry,
    kind=STORABLE,
    chat_id=st.none() | st.builds(uuid7),
    event=STORABLE,
    content=st.none() | CONTENTS,
)


@pytest.fixture(scope="module")
def connection(django_db_setup):
    with psycopg.connect(conninfo(), autocommit=True) as connection:
        register_binary(connection.adapters)
        yield connection


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ENTRIES, min_size=1, max_size=8))
def test_the_database_reads_what_psycopg_would_have_written(connection, entries):
    identity = WriterIdentity()

    row = connection.execute(f"SELECT {TAKEN}", binary_parameters(identity, entries)).fetchone()

    assert row == append_parameters(identity, entries)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ENTRIES)
def test_one_entry_alone_reads_the_same(connection, entry):
    identity = WriterIdentity()

    taken = re.sub(r"%b::(\w+)\[\]", r"ARRAY[%b::\1]", TAKEN)
    row = connection.execute(f"SELECT {taken}", parameters_of_one(identity, entry)).fetchone()

    assert row == append_parameters(identity, [entry])


def test_text_that_is_not_unicode_is_the_entrys_fault():
    entry = LedgerEntry(kind="intent", chat_id=None, event="\ud800")

    with pytest.raises(UnicodeError):
        binary_parameters(WriterIdentity(), [entry])
