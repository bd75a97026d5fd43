"""Whoever may change a provider, or write to its row, cannot have its key sent to a server of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.urls import reverse

from providers.manager import get_provider_manager, run
from providers.models import ProviderConfig
from providers.tasks import probe_and_refresh
from tests import fakes
from tests.fakes import FakeProvider
from tests.live import LiveHub
from tests.people import signed_in
from tests.providers.admin.rows import act, do, fields_of, page_of, stored_key

KEY = "sk-stored-4711-stored-abcd"
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


class Attack:
    """A provider with a stored key, a listener elsewhere, and all the ways to have the one's key sent to the other."""

    def __init__(self, hub: LiveHub, home: FakeProvider, trap: FakeProvider, admin: Client) -> None:
        self.hub, self.home, self.trap, self.admin = hub, home, trap, admin
        self.row = hub.add_provider(
            home, name="home", provider_type="openai", api_key=KEY, default_model="fake-large", models=("fake-large",)
        )
        self.key = hub.issue_key()

    def api(self, method: str, path: str, **sent: Any) -> int:
        url = f"/api/providers/{path}"
        return self.hub.client.request(method, url, json=sent or None, headers=self.hub.headers(self.key)).status_code

    def form(self, **changes: Any) -> Any:
        return self.admin.post(page_of(self.row), fields_of(self.row, **changes))

    def trial(self, **changes: Any) -> str:
        url = reverse("admin:providers_providerconfig_try", args=[self.row.pk])
        return str(self.admin.post(url, fields_of(self.row, **changes)).content.decode())

    def sql(self, statement: str, *params: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, params)

    def bait(self) -> ProviderConfig:
        """A provider of the attacker's own."""
        return self.hub.add_provider(
            self.trap, name="bait", provider_type="openai", api_key="sk-of-the-attacker-himself"
        )

    def use_everything(self) -> list[str]:
        """Chat, check and refresh by every way there is; return what those who look are told."""
        told = []
        for row in ProviderConfig.objects.exclude(name="ollama"):
            self.api("POST", f"{row.name}/check")
            self.api("POST", f"{row.name}/refresh")
            for more in ({}, {"stream": True}):
                sent = HELLO | more | {"model": f"{row.name}/fake-large"}
                self.hub.client.post("/v1/chat/completions", json=sent, headers=self.hub.headers(self.key))
            probe_and_refresh(provider_id=row.pk)
            told += act(self.admin, "check_now", row)
            do(self.admin, "refresh_models", row)
            url = reverse("admin:providers_providerconfig_try", args=[row.pk])
            self.admin.post(url, fields_of(row, settings=row.settings))
        self.hub.client.get("/api/providers/health?live=1", headers=self.hub.headers(self.key))
        run(get_provider_manager().refresh_all_models)
        return told

    @property
    def is_key_there(self) -> bool:
        return any(KEY in repr(request) for request in self.trap.requests)


@pytest.fixture
def attack(hub: LiveHub) -> Iterator[Attack]:
    user = User.objects.create_superuser("attacker")
    with FakeProvider("openai", api_key=KEY) as home, FakeProvider("openai") as trap:
        yield Attack(hub, home, trap, signed_in(user))
    user.delete()


def by_form(attack: Attack) -> None:
    assert "enter it again to use it at" in attack.form(base_url=attack.trap.url).content.decode()


def by_form_with_another_type(attack: Attack) -> None:
    assert "enter it again" in attack.form(base_url=attack.trap.url, provider_type="custom").content.decode()


def by_trial(attack: Attack) -> None:
    assert "enter it again to use it at" in attack.trial(base_url=attack.trap.url)


def by_trial_with_another_type(attack: Attack) -> None:
    assert "enter it again" in attack.trial(base_url=attack.trap.url, provider_type="mistral")


def by_trial_of_a_new_provider(attack: Attack) -> None:
    sent = fields_of(attack.row, base_url=attack.trap.url, name="home", id=attack.row.pk)
    attack.admin.post(reverse("admin:providers_providerconfig_try_new"), sent)


def by_patch(attack: Attack) -> None:
    assert attack.api("PATCH", "home", base_url=attack.trap.url) == 400


def by_patch_with_a_blank_key_in_between(attack: Attack) -> None:
    assert attack.api("PATCH", "home", base_url=attack.trap.url, api_key=" ") == 400


def by_patch_of_type_and_address(attack: Attack) -> None:
    assert attack.api("PATCH", "home", base_url=attack.trap.url, provider_type="custom") == 400


def by_registering_again(attack: Attack) -> None:
    sent = {"name": "home", "provider_type": "openai", "base_url": attack.trap.url}
    assert attack.api("POST", "register", **sent) == 400


def by_the_manager(attack: Attack) -> None:
    with pytest.raises(ValidationError, match="enter it again"):
        get_provider_manager().change_provider("home", base_url=attack.trap.url)


def by_sql_upon_the_address(attack: Attack) -> None:
    attack.sql("UPDATE providers_providerconfig SET base_url = %s WHERE name = 'home'", attack.trap.url)


def by_sql_upon_type_and_address(attack: Attack) -> None:
    attack.sql(
        "UPDATE providers_providerconfig SET base_url = %s, provider_type = 'custom' WHERE name = 'home'",
        attack.trap.url,
    )


def by_sql_upon_the_headers(attack: Attack) -> None:
    host = attack.trap.url.split("/")[2]
    attack.sql(
        "UPDATE providers_providerconfig SET provider_type = 'custom', settings = %s WHERE name = 'home'",
        f'{{"extra_headers": {{"Host": "{host}"}}}}',
    )


def by_copying_the_ciphertext(attack: Attack) -> None:
    attack.bait()
    attack.sql(
        "UPDATE providers_providerconfig bait SET api_key = home.api_key FROM providers_providerconfig home "
        "WHERE home.name = 'home' AND bait.name = 'bait'"
    )


def by_redirects(attack: Attack) -> None:
    moved = fakes.redirect(f"{attack.trap.url}/models")
    attack.home.probe_faults.extend([moved] * 20)
    attack.home.always = moved


@pytest.mark.parametrize("divert", [
    by_form, by_form_with_another_type, by_trial, by_trial_with_another_type, by_trial_of_a_new_provider, by_patch,
    by_patch_with_a_blank_key_in_between, by_patch_of_type_and_address, by_registering_again, by_the_manager,
    by_sql_upon_the_address, by_sql_upon_type_and_address, by_sql_upon_the_headers, by_copying_the_ciphertext,
    by_redirects,
])  # fmt: skip
def test_a_stored_key_reaches_no_other_server(attack: Attack, divert: Callable[[Attack], None]) -> None:
    divert(attack)

    attack.use_everything()

    assert not attack.is_key_there
    assert attack.trap.requests == []


def test_a_key_that_was_diverted_by_sql_is_flagged_wherever_health_is_told(attack: Attack) -> None:
    by_sql_upon_the_address(attack)

    told = attack.use_everything()

    words = f"was entered for {attack.home.url.removesuffix('/v1')}: enter it again to use it at"
    attack.row.refresh_from_db()
    assert any(words in line for line in told)
    assert words in attack.row.last_error
    assert words in attack.admin.get(page_of(attack.row)).content.decode()
    status = attack.hub.client.get("/api/status", headers=attack.hub.headers(attack.key)).json()
    assert any(words in action["message"] for action in status["pending_actions"])


def test_a_diverted_provider_is_passed_over_and_the_next_one_answers(attack: Attack) -> None:
    with FakeProvider("openai", api_key="sk-second", text="The second answers.") as second:
        attack.hub.add_provider(
            second, name="second", provider_type="openai", api_key="sk-second", models=("fake-large",), priority=200
        )
        by_sql_upon_the_address(attack)
        attack.hub.wait_for(lambda snapshot: snapshot.providers["home"].base_url == attack.trap.url)

        answer = attack.hub.client.post(
            "/v1/chat/completions", json=HELLO | {"model": "fake-large"}, headers=attack.hub.headers(attack.key)
        )

    assert answer.json()["choices"][0]["message"]["content"] == "The second answers."
    assert attack.trap.requests == []


def test_a_row_that_is_brought_back_uses_its_key_again(attack: Attack) -> None:
    by_sql_upon_the_address(attack)
    attack.sql("UPDATE providers_providerconfig SET base_url = %s WHERE name = 'home'", attack.home.url)

    assert run(get_provider_manager().health_check, "home").ok


@pytest.mark.parametrize("path", ["", "/", "/v2", "/v1/"])
def test_a_key_stays_where_only_the_path_changes(attack: Attack, path: str) -> None:
    origin = attack.home.url.removesuffix("/v1")

    assert attack.api("PATCH", "home", base_url=origin.upper().replace("HTTP", "http") + path) == 200

    assert stored_key(attack.row) == KEY


def test_a_key_that_is_entered_anew_goes_to_the_new_place(attack: Attack) -> None:
    assert attack.api("PATCH", "home", base_url=attack.trap.url, api_key="sk-entered-for-the-new-place") == 200

    attack.api("POST", "home/check")

    assert attack.trap.requests[0].headers["authorization"] == "Bearer sk-entered-for-the-new-place"
    assert not attack.is_key_there


def test_a_provider_that_is_moved_may_forget_its_key(attack: Attack) -> None:
    changes = {"base_url": attack.trap.url, "provider_type": "custom", "forget_api_key": "on"}

    assert attack.form(**changes).status_code == 302

    attack.api("POST", "home/check")
    assert "authorization" not in attack.trap.requests[0].headers
