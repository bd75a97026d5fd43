from __future__ import annotations

import psycopg
from django.db import connection
from psycopg import sql

from llmhub.runtime.database import conninfo
from tests.live import until


def test_the_status_is_told_while_the_database_is_away(hub):
    key = hub.issue_key()
    host = connection.settings_dict["HOST"]
    connection.settings_dict["HOST"] = "/nowhere"
    try:
        answer = hub.client.get("/api/status", headers=hub.headers(key))
    finally:
        connection.settings_dict["HOST"] = host

    body = answer.json()
    assert (answer.status_code, body["status"], body["database"], body["redis"]) == (200, "degraded", False, True)
    assert (body["default_provider"], body["pending_actions"][0]["code"]) == (None, "database_down")


def test_a_process_that_cannot_write_the_record_says_so_though_the_database_is_well(hub):
    """The writer's own session is what it needs: here it may not say that it is there."""
    key = hub.issue_key()
    with psycopg.connect(conninfo(), autocommit=True) as owner:
        owner.execute("ALTER FUNCTION ledger_writer_seen RENAME TO ledger_writer_unseen")
        try:
            end = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE {}")
            owner.execute(end.format(sql.Literal("llmhub ledger %")))
            chat = {"model": "ollama/m", "messages": [{"role": "user", "content": "Hello."}]}
            until(
                lambda: hub.client.post("/v1/chat/completions", json=chat, headers=hub.headers(key)).status_code == 503
            )
            body = hub.client.get("/api/status", headers=hub.headers(key)).json()
        finally:
            owner.execute("ALTER FUNCTION ledger_writer_unseen RENAME TO ledger_writer_seen")

    until(lambda: hub.client.get("/readyz").status_code == 200)
    assert (body["status"], body["database"]) == ("degraded", True)
    assert "ledger_down" in [action["code"] for action in body["pending_actions"]]
