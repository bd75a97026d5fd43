from datetime import UTC, datetime
from decimal import Decimal

import pytest

from llmhub.access.principals import NotPermittedError, Principal
from providers.errors import ModelNotServedError, NoProviderError, UnsupportedRequestError
from providers.models import Health
from providers.resolution.plan import Candidate
from providers.resolution.resolve import resolve
from providers.snapshot import ModelEntry, ProviderEntry, ProviderSnapshot
from providers.types import ChatMessage, ChatRequest, ImagePart, Price, ProviderType, TextPart, Tool, ToolResultPart

NOW = datetime(2026, 11, 20, tzinfo=UTC)
PRICE = Price(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(2))


def model(name, *, listed=True, allowed=True, capabilities=()):
    return ModelEntry(
        name=name,
        listed=listed,
        allowed=allowed,
        price=PRICE,
        first_seen_at=NOW,
        capabilities=frozenset(capabilities),
    )


def provider(name, *models, gone=(), off=(), **fields):
    listed = {m: model(m) for m in models} | {m: model(m, listed=False) for m in gone}
    listed |= {m: model(m, allowed=False) for m in off}
    values = {"provider_type": ProviderType.CUSTOM, "base_url": "http://localhost", "models": listed}
    return ProviderEntry(name=name, **{**values, **fields})


def snapshot(*entries):
    """The entries are in the order of the snapshot: the default first, then by priority."""
    return ProviderSnapshot(providers={entry.name: entry for entry in entries}, in_order=entries)


def planned(*entries, provider=None, model_name="", principal=None, messages=(), tools=()):
    request = ChatRequest(messages=messages, model_name=model_name, tools=tools)
    return resolve(request, principal, snapshot(*entries), provider=provider)


def key(**allowed):
    """The caller with a key that allows some providers or models only."""
    return Principal(application="app", **{name: frozenset(names) for name, names in allowed.items()})


def told(found):
    return [str(exclusion) for exclusion in found.exclusions]


def tried(found):
    return [f"{candidate.provider.name}/{candidate.model_name}" for candidate in found.candidates]


A = provider("a", "large", "small", default_model="large", is_default=True)
B = provider("b", "large", default_model="tiny")
C = provider("c", "meta/large", default_model="meta/large")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({}, ["a/large", "b/tiny", "c/meta/large"], id="nothing-named"),
        pytest.param({"model_name": "large"}, ["a/large", "b/large"], id="bare-model"),
        pytest.param({"model_name": "small"}, ["a/small"], id="bare-model-of-one"),
        pytest.param({"model_name": "tiny"}, ["b/tiny"], id="default-model-that-is-not-listed"),
        pytest.param({"model_name": "meta/large"}, ["c/meta/large"], id="bare-model-with-a-slash"),
        pytest.param({"model_name": "b/large"}, ["b/large"], id="provider-and-model"),
        pytest.param({"model_name": "c/meta/large"}, ["c/meta/large"], id="provider-and-model-with-a-slash"),
        pytest.param({"model_name": "b/never-heard-of"}, ["b/never-heard-of"], id="unlisted-model-of-a-named-provider"),
        pytest.param({"provider": "b"}, ["b/tiny"], id="named-provider"),
        pytest.param({"provider": "b", "model_name": "large"}, ["b/large"], id="named-provider-and-model"),
        pytest.param({"provider": "b", "model_name": "b/large"}, ["b/large"], id="provider-named-twice"),
        pytest.param({"provider": "c", "model_name": "meta/large"}, ["c/meta/large"], id="named-provider-slash-model"),
        pytest.param({"provider": "a", "model_name": "b/large"}, ["a/b/large"], id="a-named-provider-is-the-only-one"),
        pytest.param({"provider": "", "model_name": "large"}, ["a/large", "b/large"], id="empty-provider-is-none"),
    ],
)
def test_what_is_asked_for_decides_who_is_tried(asked, expected):
    assert tried(planned(A, B, C, **asked)) == expected


def test_the_order_of_the_configuration_is_the_order_of_trying():
    assert tried(planned(C, B, A)) == ["c/meta/large", "b/tiny", "a/large"]


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.HEALTHY, Health.DEGRADED])
def test_only_the_unhealthy_lose_their_place(health):
    first = provider("first", default_model="m", health=health)

    assert tried(planned(first, B)) == ["first/m", "b/tiny"]


def test_the_unhealthy_are_tried_last_in_their_own_order():
    ill = provider("ill", default_model="m", health=Health.UNHEALTHY)
    iller = provider("iller", default_model="m", health=Health.UNHEALTHY)

    assert tried(planned(ill, A, iller, B)) == ["a/large", "b/tiny", "ill/m", "iller/m"]


def test_an_unhealthy_provider_is_tried_when_it_is_the_one_named():
    ill = provider("ill", default_model="m", health=Health.UNHEALTHY)

    assert tried(planned(A, ill, model_name="ill/m")) == ["ill/m"]


def test_a_vanished_model_is_not_served_any_more():
    before = provider("before", gone=["old"])

    assert tried(planned(before, provider("after", "old"), model_name="old")) == ["after/old"]


def test_a_vanished_model_that_is_the_default_is_still_tried():
    assert tried(planned(provider("a", gone=["old"], default_model="old"), model_name="old")) == ["a/old"]


OFF = provider("off", "small", off=["large"], default_model="large")


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"model_name": "large"}, id="bare"),
        pytest.param({"model_name": "off/large"}, id="qualified"),
        pytest.param({"provider": "off", "model_name": "large"}, id="named-provider"),
        pytest.param({"provider": "off", "model_name": "off/large"}, id="named-twice"),
        pytest.param({"provider": "off"}, id="default-of-a-named-provider"),
        pytest.param({}, id="default-of-the-only-provider"),
        pytest.param({"model_name": "off/large:latest"}, id="with-the-tag-that-goes-without-saying"),
        pytest.param({"model_name": "off/LARGE"}, id="in-capitals"),
        pytest.param({"model_name": "off/models/large"}, id="with-googles-folder"),
        pytest.param({"model_name": "off/ large "}, id="with-spaces"),
    ],
)
def test_a_model_that_is_switched_off_is_refused_however_it_is_named(asked):
    with pytest.raises(NotPermittedError, match="switched off") as refused:
        planned(OFF, **asked)

    assert (refused.value.code, refused.value.param) == ("model_not_allowed", "model")


def test_a_model_that_is_switched_off_at_one_provider_is_asked_of_another():
    found = planned(OFF, A, model_name="large")

    assert tried(found) == ["a/large"]
    assert told(found) == ["off has the model `large` switched off"]


def test_the_other_models_of_a_provider_are_asked_as_ever():
    assert tried(planned(OFF, model_name="off/small")) == ["off/small"]
    assert tried(planned(OFF, model_name="off/never-heard-of")) == ["off/never-heard-of"]


def test_a_model_that_is_switched_off_and_gone_stays_switched_off():
    gone = ModelEntry(name="old", listed=False, allowed=False, price=PRICE, first_seen_at=NOW)

    with pytest.raises(NotPermittedError):
        planned(provider("a", models={"old": gone}), model_name="a/old")


@pytest.mark.parametrize(
    ("unusable", "code", "reason"),
    [
        pytest.param(
            provider("x", default_model="m", enabled=False), "provider_disabled", "x is disabled", id="disabled"
        ),
        pytest.param(provider("x", "large"), "no_default_model", "x has no default model", id="no-default-model"),
        pytest.param(
            provider("x", "large", default_model="m", settings={"strict_models": True}),
            "model_not_listed",
            "x does not have the model `m`",
            id="unlisted-at-a-strict-one",
        ),
    ],
)
def test_who_is_left_out_is_told_with_the_reason(unusable, code, reason):
    found = planned(unusable, A)

    assert tried(found) == ["a/large"]
    assert told(found) == [reason]
    assert found.exclusions[0].code == code


def test_a_strict_provider_without_a_model_list_yet_is_tried():
    strict = provider("x", default_model="m", settings={"strict_models": True})

    assert tried(planned(strict)) == ["x/m"]


def test_who_the_key_forbids_is_left_out_with_the_reason():
    found = planned(A, B, principal=key(allowed_providers=["b"]))

    assert tried(found) == ["b/tiny"]
    assert told(found) == ["a is not allowed to this API key"]


def test_the_key_is_asked_about_the_model_that_would_be_used():
    found = planned(A, B, principal=key(allowed_models=["b/tiny"]))

    assert tried(found) == ["b/tiny"]


@pytest.mark.parametrize("asked", [{}, {"model_name": "large"}, {"model_name": "a/large"}, {"provider": "b"}])
def test_a_key_that_allows_none_of_them_is_refused(asked):
    with pytest.raises(NotPermittedError) as refused:
        planned(A, B, **asked, principal=key(allowed_providers=["c"]))

    assert (refused.value.code, refused.value.param) == ("model_not_allowed", "model")


@pytest.mark.parametrize("name", ["never-heard-of", "a/", "/large", "d/large"])
def test_a_model_that_nobody_has_is_not_served(name):
    with pytest.raises(ModelNotServedError, match=f"The model `{name}` is served by no provider here") as refused:
        planned(A, B, model_name=name)

    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_provider_that_nobody_knows_is_not_served():
    with pytest.raises(ModelNotServedError, match="There is no provider named `d`") as refused:
        planned(A, B, provider="d", model_name="large")

    assert (refused.value.code, refused.value.param) == ("provider_not_found", "provider")


def test_a_strict_provider_named_with_a_model_it_lacks_does_not_serve_it():
    strict = provider("x", "large", settings={"strict_models": True})

    with pytest.raises(ModelNotServedError, match="x does not have the model `small`") as refused:
        planned(strict, A, model_name="x/small")

    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param({"model_name": "off/m"}, "off is disabled", id="named-one-is-disabled"),
        pytest.param({"provider": "bare"}, "bare has no default model", id="named-one-knows-no-model"),
        pytest.param({}, "off is disabled; bare has no default model", id="all-with-their-reasons"),
    ],
)
def test_when_nobody_can_be_asked_the_reasons_are_told(asked, words):
    off = provider("off", "m", default_model="m", enabled=False)

    with pytest.raises(NoProviderError, match=f"No provider can be asked: {words}"):
        planned(off, provider("bare"), **asked)


def test_without_any_provider_that_is_what_is_told():
    with pytest.raises(NoProviderError, match="No provider is configured"):
        planned()


def test_a_model_that_only_disabled_providers_have_is_not_said_to_be_unknown():
    off = provider("off", "m", enabled=False)

    with pytest.raises(NoProviderError, match="off is disabled"):
        planned(off, A, model_name="m")


def test_a_candidate_costs_what_its_model_costs():
    assert Candidate(A, "large").price == PRICE


def test_a_candidate_whose_model_has_vanished_costs_what_it_did():
    assert Candidate(provider("a", gone=["old"]), "old").price == PRICE


def test_a_candidate_whose_model_is_not_listed_has_no_known_price():
    assert Candidate(A, "never-heard-of").price == Price()


TOOL = Tool("look_up", parameters={"type": "object"})
IMAGE = ImagePart("https://example.org/cat.png")
ASKS_WITH_IMAGE = ChatMessage("user", [TextPart("What is this?"), IMAGE])
RESULT_WITH_IMAGE = ChatMessage("tool", [ToolResultPart("call_1", (IMAGE,))])
ABLE = provider("able", models={"m": model("m", capabilities=["chat", "tools", "vision"])}, default_model="m")
PLAIN = provider("plain", models={"m": model("m", capabilities=["chat"])}, default_model="m")
UNTOLD = provider("untold", models={"m": model("m")}, default_model="m")


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        pytest.param({"tools": (TOOL,)}, "model_lacks_tools", "plain takes no tools with the model `m`", id="tools"),
        pytest.param(
            {"messages": (ASKS_WITH_IMAGE,)},
            "model_lacks_vision",
            "plain takes no images with the model `m`",
            id="image",
        ),
        pytest.param(
            {"messages": (RESULT_WITH_IMAGE,)},
            "model_lacks_vision",
            "plain takes no images with the model `m`",
            id="image-in-a-result",
        ),
    ],
)
def test_a_model_known_not_to_take_what_is_asked_is_left_out(asked, code, words):
    found = planned(PLAIN, ABLE, UNTOLD, model_name="m", **asked)

    assert tried(found) == ["able/m", "untold/m"]
    assert [(exclusion.code, str(exclusion)) for exclusion in found.exclusions] == [(code, words)]


def test_a_model_takes_what_needs_no_special_capability():
    assert tried(planned(PLAIN, messages=(ChatMessage("user", "Hello"),))) == ["plain/m"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        pytest.param({"tools": (TOOL,)}, "tools", id="tools"),
        pytest.param({"messages": (ASKS_WITH_IMAGE,)}, "messages", id="image"),
    ],
)
def test_where_no_model_takes_it_the_lack_is_told_and_nobody_is_asked(asked, param):
    with pytest.raises(UnsupportedRequestError, match="plain takes no") as refused:
        planned(PLAIN, provider("off", default_model="m", enabled=False), **asked)

    assert refused.value.param == param
    assert "off" not in refused.value.message


def test_a_key_learns_nothing_of_the_models_that_it_does_not_allow():
    with pytest.raises(UnsupportedRequestError) as refused:
        planned(PLAIN, ABLE, model_name="m", tools=(TOOL,), principal=key(allowed_providers=["plain"]))

    assert "able" not in refused.value.message
