"""The limit that a provider's row sets on requests a minute, shared by all processes through Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from providers.errors import RateLimitedError
from providers.metrics import RATE_LIMITS_UNCHECKED

logger = logging.getLogger(__name__)

WAIT_S = 0.25
"""What Redis may cost a chat; past it the limit is left unchecked, as chats matter more than the limit."""

RECOVERY_S = 1.0
"""How long a Redis that failed is not asked again: not every chat waits for one that is silent."""

# KEYS[1]: the log of a provider's last minute. ARGV: limit, member. Returns 0 when let in, else the ms to wait.
ADMIT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return math.max(1, tonumber(oldest[2]) + 60000 - now)
end
redis.call('ZADD', KEYS[1], now, ARGV[2])
redis.call('PEXPIRE', KEYS[1], 60000)
return 0
"""


class RateLimiter:
    """Admits exactly as many requests in any sixty seconds as a limit allows, over all processes.

    Belongs to one event loop.
    """

    def __init__(self, redis_url: str, *, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._silent_until_s = 0.0
        self._asked: set[asyncio.Task[int]] = set()
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                redis_url, max_connections=32, timeout=wait_s, socket_timeout=wait_s, socket_connect_timeout=wait_s
            )
        )
        self._admit = self._redis.register_script(ADMIT)

    async def admit(self, provider: str, limit: int | None) -> None:
        """Count one request.

        Errors: RateLimitedError when the provider's minute is full.
        """
        if limit is None:
            return
        if time.monotonic() < self._silent_until_s:
            RATE_LIMITS_UNCHECKED.labels(provider).inc()
            return
        try:
            wait_ms = await self._ask(provider, limit)
        except (RedisError, TimeoutError) as error:
            self._silent_until_s = time.monotonic() + RECOVERY_S
            RATE_LIMITS_UNCHECKED.labels(provider).inc()
            logger.warning("Rate limit of %s not checked: Redis failed (%s).", provider, type(error).__name__)
            return
        if wait_ms:
            raise RateLimitedError(
                f"Provider `{provider}` is at the {limit} requests a minute that it may be sent.",
                provider=provider,
                retry_after_s=wait_ms / 1000,
            )

    async def _ask(self, provider: str, limit: int) -> int:
        """Return the milliseconds to wait. A connection that takes too long to open is left to open for the next.

        Errors: RedisError, TimeoutError.
        """
        task = asyncio.ensure_future(self._run_script(provider, limit))
        self._asked.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait({task}, timeout=self._wait_s)
        if not task.done():
            raise TimeoutError
        return task.result()

    async def _run_script(self, provider: str, limit: int) -> int:
        return int(await self._admit(keys=[f"llmhub:rate:{provider}"], args=[limit, secrets.token_hex(8)]))

    def _forget(self, task: asyncio.Task[int]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()

    async def close(self) -> None:
        for task in self._asked:
            task.cancel()
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()
