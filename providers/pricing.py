"""What chats cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from providers.types import Price, ProviderType, Usage

NANO = Decimal(10**9)
MILLION = Decimal(10**6)

PUBLIC_LISTS = {
    ProviderType.OPENAI: "openai",
    ProviderType.ANTHROPIC: "anthropic",
    ProviderType.GOOGLE: "google",
    ProviderType.MISTRAL: "mistral",
}
"""The provider types that have list prices, by their names in genai-prices."""


def known_price(provider_type: ProviderType, model_name: str, *, now: datetime) -> Price:
    """Return a model's public list price, all None where there is none. The price at the lowest tier of use."""
    if provider_type not in PUBLIC_LISTS:
        return Price()
    try:
        _, model = get_snapshot().find_provider_model(model_name, None, PUBLIC_LISTS[provider_type], None)
    except LookupError:
        return Price()
    prices = model.get_prices(now)
    return Price(
        input_usd_per_mtok=_lowest_tier(prices, "input_mtok"),
        output_usd_per_mtok=_lowest_tier(prices, "output_mtok"),
        cached_input_usd_per_mtok=_lowest_tier(prices, "cache_read_mtok"),
    )


def _lowest_tier(prices: ModelPrice, name: str) -> Decimal | None:
    price = getattr(prices, name, None)
    return price.base if isinstance(price, TieredPrices) else price


def cost_usd(usage: Usage | None, price: Price) -> Decimal | None:
    """Return what one call cost, None where usage or a price it needs is not known.

    Units: tokens and USD per million tokens in; USD out, unrounded. Cached input without a price of its
    own costs what other input does.
    """
    if usage is None or price.input_usd_per_mtok is None or price.output_usd_per_mtok is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
    cached_price = (
        price.input_usd_per_mtok if price.cached_input_usd_per_mtok is None else price.cached_input_usd_per_mtok
    )
    total = (
        (usage.prompt_tokens - cached) * price.input_usd_per_mtok
        + cached * cached_price
        + usage.completion_tokens * price.output_usd_per_mtok
    )
    return total / MILLION


def nano_usd(cost: Decimal | None) -> int | None:
    """Round to whole nano-USD, as rows and records hold money."""
    return None if cost is None else int((cost * NANO).to_integral_value())
