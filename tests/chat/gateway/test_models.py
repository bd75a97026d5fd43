from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from providers.models import ProviderModel
from tests.live import LiveHub


@pytest.fixture
def key(hub: LiveHub) -> str:
    hub.add_provider(name="one", base_url="http://127.0.0.1:9/v1", models=("alpha", "org/beta"))
    hub.add_provider(name="two", base_url="http://127.0.0.1:9/v1", models=("alpha",), priority=1)
    return hub.issue_key()


@pytest.fixture
def sdk(hub: LiveHub, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{hub.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def test_the_list_names_each_providers_models_though_no_provider_answers(sdk):
    assert [model.id for model in sdk.models.list()] == ["two/alpha", "one/alpha", "one/org/beta"]


def test_one_model_is_found_with_and_without_its_provider(sdk):
    assert sdk.models.retrieve("one/org/beta").owned_by == "one"
    assert sdk.models.retrieve("alpha").id == "two/alpha"


def test_a_model_that_is_switched_off_is_not_listed_and_not_served(hub, sdk):
    ProviderModel.objects.filter(provider__name="one", name="org/beta").allow(on=False)
    hub.wait_for(lambda s: not s.providers["one"].models["org/beta"].allowed)

    assert [model.id for model in sdk.models.list()] == ["two/alpha", "one/alpha"]
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("one/org/beta")
    for name in ("org/beta", "one/org/beta"):
        with pytest.raises(openai.PermissionDeniedError, match="switched off") as refused:
            sdk.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello"}])
        assert refused.value.code == "model_not_allowed"


def test_an_unknown_model_is_not_found(sdk):
    with pytest.raises(openai.NotFoundError, match="`gamma`"):
        sdk.models.retrieve("gamma")


def test_a_vanished_model_is_left_out(hub, sdk):
    ProviderModel.objects.filter(provider__name="two").update(listed=False)
    hub.wait_for(lambda s: not s.providers["two"].models["alpha"].listed)

    assert [model.id for model in sdk.models.list()] == ["one/alpha", "one/org/beta"]


def test_a_bound_key_sees_what_it_may_use(hub, key):
    bound = hub.issue_key(application="bound", allowed_providers=["two"])

    with openai.OpenAI(base_url=f"{hub.url}/v1", api_key=bound) as client:
        found = [model.id for model in client.models.list()]

    assert found == ["two/alpha"]


def test_pages_go_on_after_the_last_id(hub, key):
    first = hub.client.get("/v1/models?limit=2", headers=hub.headers(key)).json()
    second = hub.client.get(f"/v1/models?limit=2&after_id={first['last_id']}", headers=hub.headers(key)).json()

    assert ([m["id"] for m in first["data"]], first["has_more"]) == (["two/alpha", "one/alpha"], True)
    assert ([m["id"] for m in second["data"]], second["has_more"]) == (["one/org/beta"], False)


def test_without_a_key_there_is_no_list(hub):
    answer = hub.client.get("/v1/models")

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/api/chat/multi"])
def test_a_wrong_method_is_told_the_right_one(hub, path):
    answer = hub.client.delete(path)

    assert answer.status_code == 405
    assert answer.headers["allow"] in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/nothing", "/api/chat/multi/"])
def test_nothing_redirects(hub, path):
    answer = hub.client.get(path)

    assert answer.status_code in (401, 404, 405)
