"""What chats cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices

from providers.types import Price, Usage

NANO = Decimal(10**9)
MILLION = Decimal(10**6)


def known_price(price_list: str, model_name: str, *, now: datetime) -> Price:
    """Return a model's public price at the lowest tier of use, all None where there is none.

    Shape: `price_list` is a provider as genai-prices names it, empty for types without list prices.
    """
    if not price_list:
        return Price()
    try:
        _, model = get_snapshot().find_provider_model(model_name, None, price_list, None)
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
