from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.backends import BACKENDS
from providers.pricing import cost_usd, known_price, nano_usd
from providers.types import Price, ProviderType, Usage

NOW = datetime(2026, 11, 20, tzinfo=UTC)
PRICE = Price(
    input_usd_per_mtok=Decimal("2.50"),
    output_usd_per_mtok=Decimal(10),
    cached_input_usd_per_mtok=Decimal("0.25"),
)
FREE = Price(input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0))
COUNTS = st.integers(0, 10**9)


def usage(prompt_tokens, completion_tokens, **more):
    return Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, **more)


@pytest.mark.parametrize(
    ("used", "price", "cost"),
    [
        pytest.param(usage(0, 0), PRICE, "0", id="nothing-used"),
        pytest.param(usage(1, 0), PRICE, "0.0000025", id="one-token-in"),
        pytest.param(usage(0, 1), PRICE, "0.00001", id="one-token-out"),
        pytest.param(usage(10**6, 10**6), PRICE, "12.5", id="a-million-each"),
        pytest.param(usage(10**6, 0, cached_tokens=0), PRICE, "2.5", id="nothing-cached"),
        pytest.param(usage(10**6, 0, cached_tokens=10**6), PRICE, "0.25", id="all-cached"),
        pytest.param(usage(10**6, 0, cached_tokens=400_000), PRICE, "1.6", id="some-cached"),
        pytest.param(usage(0, 10**6, reasoning_tokens=10**6), PRICE, "10", id="reasoning-is-part-of-the-output"),
        pytest.param(usage(7, 7), FREE, "0", id="free"),
        pytest.param(usage(10**6, 0, cached_tokens=10**6), FREE, "0", id="free-cached"),
    ],
)
def test_a_call_costs_its_tokens_at_their_prices(used, price, cost):
    assert cost_usd(used, price) == Decimal(cost)


def test_cached_input_without_a_price_of_its_own_costs_what_other_input_does():
    price = Price(input_usd_per_mtok=Decimal(3), output_usd_per_mtok=Decimal(0))

    assert cost_usd(usage(10**6, 0, cached_tokens=10**6), price) == Decimal(3)


def test_cached_input_may_be_free_where_other_input_is_not():
    price = Price(input_usd_per_mtok=Decimal(3), output_usd_per_mtok=Decimal(0), cached_input_usd_per_mtok=Decimal(0))

    assert cost_usd(usage(10**6, 0, cached_tokens=10**6), price) == Decimal(0)


@pytest.mark.parametrize(
    ("used", "price"),
    [
        pytest.param(None, PRICE, id="no-usage"),
        pytest.param(usage(1, 1), Price(), id="no-price"),
        pytest.param(usage(1, 0), Price(input_usd_per_mtok=Decimal(1)), id="no-price-of-output"),
        pytest.param(usage(0, 1), Price(output_usd_per_mtok=Decimal(1)), id="no-price-of-input"),
        pytest.param(usage(0, 0), Price(), id="nothing-used-at-no-known-price"),
    ],
)
def test_what_is_not_known_costs_an_unknown_amount_and_not_nothing(used, price):
    assert cost_usd(used, price) is None


@pytest.mark.parametrize(
    ("cost", "nano"),
    [
        (None, None),
        (Decimal(0), 0),
        (Decimal("0.000000001"), 1),
        (Decimal("0.0000000004"), 0),
        (Decimal("0.0000000006"), 1),
        (Decimal("0.0000000005"), 0),
        (Decimal("0.0000000015"), 2),
        (Decimal("1.0000000004"), 10**9),
        (Decimal("9223372036.854775807"), 2**63 - 1),
    ],
)
def test_money_is_rounded_to_whole_nano_usd_half_to_even(cost, nano):
    assert nano_usd(cost) == nano


def test_a_provider_that_counts_more_cached_than_there_was_does_not_earn_us_money():
    assert cost_usd(usage(10, 0, cached_tokens=1000), PRICE) == Decimal("0.0000025")


@given(prompt=COUNTS, completion=COUNTS, cached=st.integers(0, 10**9))
def test_no_usage_costs_less_than_nothing_or_more_than_without_a_cache(prompt, completion, cached):
    used = usage(prompt, completion, cached_tokens=cached)

    cost = cost_usd(used, PRICE)

    assert 0 <= cost <= cost_usd(usage(prompt, completion), PRICE)


@pytest.mark.parametrize("provider_type", [ProviderType.OLLAMA, ProviderType.CUSTOM])
def test_what_runs_on_ones_own_machines_has_no_list_price(provider_type):
    assert known_price(BACKENDS[provider_type].price_list, "gpt-4o", now=NOW) == Price()


def test_a_model_that_no_list_has_has_no_known_price():
    assert known_price("openai", "never-heard-of", now=NOW) == Price()


def test_a_public_model_has_its_list_price():
    price = known_price("openai", "gpt-4o", now=NOW)

    assert price.input_usd_per_mtok == Decimal("2.5")
    assert price.output_usd_per_mtok == Decimal(10)
    assert price.cached_input_usd_per_mtok == Decimal("1.25")


def test_of_a_tiered_price_the_lowest_tier_counts():
    price = known_price("google", "gemini-2.5-pro", now=NOW)

    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("1.25"), Decimal(10))
