"""What servers list of models, and what they answer to those who see whether they work."""

import json

import pytest

from providers.errors import MalformedReplyError
from tests import fakes

LISTS = {
    "ollama": "models",
    "openai": "data",
    "anthropic": "data",
    "google": "models",
    "mistral": "data",
    "custom": "data",
}
GOOD = {"id": "good", "name": "good"}
ODD = [{}, None, "a name alone", *[{"id": name, "name": name} for name in (7, "x" * 201, "a\0")]]


def listing(provider_type, *models):
    return fakes.body(json.dumps({LISTS[provider_type]: models}).encode())


@pytest.mark.parametrize("provider_type", LISTS)
async def test_an_odd_entry_costs_no_other(make_fake, make_backend, provider_type):
    fake = make_fake(provider_type)
    fake.probe_faults.append(listing(provider_type, *ODD, GOOD))

    models = await make_backend(fake, provider_type).list_models()

    assert [model.name for model in models] == ["good"]


@pytest.mark.parametrize("provider_type", LISTS)
async def test_a_list_of_nothing_but_odd_entries_is_no_list(make_fake, make_backend, provider_type):
    fake = make_fake(provider_type)
    fake.probe_faults.append(listing(provider_type, {}, {"object": "model"}))

    with pytest.raises(MalformedReplyError, match="not in its format"):
        await make_backend(fake, provider_type).list_models()


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        pytest.param([{"id": "a"}, {"id": "b"}], ["a", "b"], id="several"),
        pytest.param([{"id": "a"}], ["a"], id="one"),
        pytest.param([], [], id="none"),
    ],
)
async def test_a_bare_list_is_a_list(make_fake, make_backend, reply, names):
    fake = make_fake("custom")
    fake.probe_faults.append(fakes.body(json.dumps(reply).encode()))

    models = await make_backend(fake, "custom").list_models()

    assert [model.name for model in models] == names


async def test_a_count_with_a_decimal_point_is_a_count(make_fake, make_backend):
    fake = make_fake("custom")
    fake.probe_faults.append(listing("custom", {"id": "a", "context_length": 131072.0}))

    (model,) = await make_backend(fake, "custom").list_models()

    assert model.context_window == 131_072


@pytest.mark.parametrize("status", [404, 405])
async def test_a_custom_server_without_a_model_list_is_healthy(make_fake, make_backend, status):
    fake = make_fake("custom")
    fake.probe_faults.append(fakes.status(status))

    assert (await make_backend(fake, "custom").health_check()).ok


@pytest.mark.parametrize("status", [401, 500])
async def test_a_custom_server_that_refuses_otherwise_is_not(make_fake, make_backend, status):
    fake = make_fake("custom")
    fake.probe_faults.append(fakes.status(status))

    assert not (await make_backend(fake, "custom").health_check()).ok


async def test_another_path_can_be_probed_and_need_not_answer_in_json(make_fake, make_backend):
    fake = make_fake("custom")
    fake.probe_faults.append(fakes.body(b"OK", content_type="text/plain"))

    result = await make_backend(fake, "custom", probe_path="/health").health_check()

    assert result.ok
    assert fake.requests[0].path.endswith("/health")


async def test_where_a_path_to_probe_is_named_its_absence_is_a_fault(make_fake, make_backend):
    fake = make_fake("custom")
    fake.probe_faults.append(fakes.status(404))

    assert not (await make_backend(fake, "custom", probe_path="/health").health_check()).ok


async def test_large_headers_of_a_reply_are_read(make_fake, make_backend):
    fake = make_fake("custom")
    fake.probe_faults.append(fakes.body(b'{"data": []}', x_policy="p" * 60_000))

    assert (await make_backend(fake, "custom").health_check()).ok
