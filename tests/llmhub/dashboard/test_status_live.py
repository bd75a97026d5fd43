from __future__ import annotations

from django.db import connection


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
