from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from llmhub.access.models import ApiKey, Application

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> str:
    call_command("create_key", *arguments, stdout=(said := StringIO()), stderr=StringIO())
    return said.getvalue().strip()


def test_a_key_is_printed_once_and_made_once():
    first, second = create("billing"), create("billing")

    key = ApiKey.objects.find_entry(first)
    assert key is not None
    assert (key.principal.application, key.principal.scopes) == ("billing", {"chat"})
    assert second == ""
    assert ApiKey.objects.count() == 1


def test_a_key_of_another_name_is_another_key():
    assert create("billing") != create("billing", "--name", "second") != ""


def test_a_key_has_the_scopes_and_the_end_that_were_asked_for():
    create("billing", "--scopes", "chat", "audit:read", "--days", "0")

    row = ApiKey.objects.get()
    assert (row.scopes, row.expires_at) == (["chat", "audit:read"], None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["not a name"], "^application: .*slug", id="no-slug"),
        pytest.param([""], "^application: .*blank", id="no-application"),
        pytest.param(["billing", "--name", ""], "^--name: .*blank", id="no-name"),
        pytest.param(["billing", "--name", "x" * 101], "^--name: .*at most 100", id="long-name"),
        pytest.param(["billing", "--days", "-5"], "^--days: .*from 0 to 36500 .*not -5", id="days-past"),
        pytest.param(["billing", "--days", "999999999"], "^--days: .*from 0 to 36500", id="days-beyond-dates"),
    ],
)
def test_what_no_key_may_have_is_refused_by_its_name(arguments, words):
    with pytest.raises(CommandError, match=words):
        create(*arguments)

    assert not Application.objects.exists()


def test_an_unknown_scope_is_refused():
    with pytest.raises(CommandError, match="invalid choice"):
        create("billing", "--scopes", "everything")
