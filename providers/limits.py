"""The limit that a provider's row sets on requests a minute, shared by all processes through Redis."""

from __future__ import annotations

import logging
import secrets

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from providers.errors import RateLimitedError

logger = logging.getLogger(__name__)

WAIT_S = 0.25
"""What Redis may cost a chat; past it the limit is left unchecked, as chats matter more than the limit."""

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

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                redis_url, max_connections=32, timeout=WAIT_S, socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S
            )
        )
        self._admit = self._redis.register_script(ADMIT)

    async def admit(self, provider: str, limit: int | None) -> None:
        """Count one request.

        Errors: RateLimitedError when the provider's minute is full.
        """
        if limit is None:
            return
        try:
            wait_ms = int(await self._admit(keys=[f"llmhub:rate:{provider}"], args=[limit, secrets.token_hex(8)]))
        except RedisError as error:
            logger.warning("Rate limit of %s not checked: Redis failed (%s).", provider, type(error).__name__)
            return
        if wait_ms:
            raise RateLimitedError(
                f"Provider `{provider}` is at the {limit} requests a minute that it may be sent.",
                provider=provider,
                retry_after_s=wait_ms / 1000,
            )

    async def close(self) -> None:
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()
