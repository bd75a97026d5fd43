"""Format numbers for display, each with its exact value."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

NOTHING = "–"
SHORT_FROM = 10_000
UNITS = ("k", "M", "bn")


def format_count(count: int) -> tuple[str, str]:
    """Return 1234567 as `1.2 M` and `1,234,567`."""
    exact = f"{count:,}"
    if count < SHORT_FROM:
        return exact, exact
    scaled, units = count / 1000, iter(UNITS)
    unit = next(units)
    while scaled >= 999.95 and (larger := next(units, "")):
        scaled, unit = scaled / 1000, larger
    return f"{scaled:,.1f} {unit}", exact


def format_usd(nano_usd: int) -> tuple[str, str]:
    """Return a sum in cents, or with two significant digits below ten cents; and exactly."""
    usd = Decimal(nano_usd).scaleb(-9)
    exact = f"${usd.normalize():,f}"
    if usd >= SHORT_FROM:
        return f"${format_count(int(usd))[0]}", exact
    if usd == 0 or usd >= Decimal("0.1"):
        return f"${usd.quantize(Decimal('0.01'), ROUND_HALF_UP):,f}", exact
    return f"${usd.quantize(Decimal(1).scaleb(usd.adjusted() - 1), ROUND_HALF_UP).normalize():f}", exact


def format_duration(ms: float | None) -> tuple[str, str]:
    if ms is None:
        return NOTHING, "no succeeded chats"
    exact = f"about {ms:,.0f} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms", exact
    return (f"{ms / 1000:.1f} s" if ms < 59_950 else f"{ms / 60_000:.1f} min"), exact


def format_percent(share: float) -> str:
    """Format a share in percent; never round a positive share to 0 %, nor a partial one to 100 %."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{share * 100:.1f} %"


def pluralize_chats(count: int) -> str:
    return "chat" if count == 1 else "chats"
