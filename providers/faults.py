"""The hub's own failures at one provider: each is a failure of that provider alone, whatever it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from llmhub.runtime.memory_budget import MemoryBudgetExceededError
from providers.errors import InternalError, ProviderError

logger = logging.getLogger(__name__)

OF_THE_PROCESS = (MemoryBudgetExceededError, MemoryError, SystemError)
"""What no other provider would escape."""


@contextmanager
def named_faults(provider: str) -> Iterator[None]:
    """Make of an exception that no table knows an error like others, and log it, once, with its traceback.

    Errors: InternalError; ProviderErrors and what ails the process pass through.
    """
    try:
        yield
    except (ProviderError, *OF_THE_PROCESS):
        raise
    except Exception:
        logger.exception("The hub failed at provider %s.", provider)
        # `from None`: a foreign exception can hold the request's headers, and the key in them.
        raise InternalError("The hub failed; see its log.", provider=provider) from None
