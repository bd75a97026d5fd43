"""The mark by which a hub knows its own requests again when a provider's address leads back to it.

Source: `Via`, RFC 9110 section 7.6.3: a pseudonym for each that passes a request on.
"""

from __future__ import annotations

import re
from functools import cache

from django.utils.crypto import salted_hmac

from providers.errors import LoopError

MAX_HUBS = 8
_HUB = re.compile(r"\b1\.1 (llmhub-[0-9a-f]{16})\b")


@cache
def own_mark() -> str:
    """Return the pseudonym of this hub: the same in all its processes, and telling nothing of it."""
    return f"llmhub-{salted_hmac('llmhub.hubs', '', algorithm='sha256').hexdigest()[:16]}"


def hubs_before(via: str | None) -> tuple[str, ...]:
    """Return the hubs that a request came through, by its header.

    Errors: LoopError where this one is among them, or they are too many.
    """
    hubs = tuple(_HUB.findall(via)) if via else ()
    if own_mark() in hubs:
        raise LoopError("This request has come through this hub before: a provider's address leads back to it.")
    if len(hubs) > MAX_HUBS:
        raise LoopError(f"This request has come through more than {MAX_HUBS} hubs.")
    return hubs
