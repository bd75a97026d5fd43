import asyncio
import logging
import time
from contextlib import suppress

import pytest
from django.conf import settings
from prometheus_client import REGISTRY
from redis import Redis

from providers.errors import RateLimitedError
from providers.resolution.limits import RateLimiter

PROVIDER = "limited"
PATIENT_S = 5.0  # what is tested is the count, on however busy a machine
LOG = f"llmhub:rate:{PROVIDER}"


@pytest.fixture
def redis(servers):
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete(LOG)
        yield client
        client.delete(LOG)


@pytest.fixture
async def limiter(redis):
    limiter = RateLimiter(settings.REDIS_URL, wait_s=PATIENT_S)
    yield limiter
    await limiter.close()


@pytest.fixture
async def other_limiter():
    limiter = RateLimiter(settings.REDIS_URL, wait_s=PATIENT_S)
    yield limiter
    await limiter.close()


@pytest.fixture
async def silent_server():
    """A server that takes connections and never says anything, as a paused Redis does."""
    connections = []

    async def take(_reader, writer):
        connections.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield f"redis://:canary-of-the-tests@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    server.close()
    for writer in connections:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def is_admitted(limiter, limit, provider=PROVIDER):
    try:
        await limiter.admit(provider, limit)
    except RateLimitedError:
        return False
    return True


def pass_ms(redis, ms):
    """Let time pass in the log of a provider: what it holds becomes older."""
    for member, at_ms in redis.zrange(LOG, 0, -1, withscores=True):
        redis.zadd(LOG, {member: at_ms - ms})


async def test_without_a_limit_nothing_is_counted(limiter, redis):
    assert all([await is_admitted(limiter, None) for _ in range(5)])

    assert not redis.exists(LOG)


async def test_many_at_once_are_admitted_up_to_the_limit_and_no_further(limiter):
    admitted = await asyncio.gather(*(is_admitted(limiter, 20) for _ in range(50)))

    assert sum(admitted) == 20


async def test_two_processes_share_one_limit(limiter, other_limiter):
    admitted = await asyncio.gather(*(is_admitted(one, 20) for _ in range(25) for one in (limiter, other_limiter)))

    assert sum(admitted) == 20


async def test_each_provider_has_a_minute_of_its_own(limiter, redis):
    redis.delete("llmhub:rate:another")

    assert await is_admitted(limiter, 1)
    assert await is_admitted(limiter, 1, provider="another")
    assert not await is_admitted(limiter, 1)
    redis.delete("llmhub:rate:another")


async def test_who_is_refused_is_told_how_long_to_wait(limiter, redis):
    await limiter.admit(PROVIDER, 1)
    pass_ms(redis, 20_000)

    with pytest.raises(RateLimitedError, match="`limited` is at the 1 requests a minute") as refused:
        await limiter.admit(PROVIDER, 1)

    assert refused.value.provider == PROVIDER
    assert 39 < refused.value.retry_after_s <= 40


async def test_the_wait_is_for_the_oldest_to_leave_the_minute(limiter, redis):
    await limiter.admit(PROVIDER, 2)
    pass_ms(redis, 50_000)
    await limiter.admit(PROVIDER, 2)

    with pytest.raises(RateLimitedError) as refused:
        await limiter.admit(PROVIDER, 2)

    assert 9 < refused.value.retry_after_s <= 10


async def test_a_minute_later_there_is_room_again(limiter, redis):
    await limiter.admit(PROVIDER, 1)

    pass_ms(redis, 59_000)
    assert not await is_admitted(limiter, 1)
    pass_ms(redis, 1_000)
    assert await is_admitted(limiter, 1)


async def test_the_window_slides_and_does_not_begin_anew(limiter, redis):
    await asyncio.gather(*(limiter.admit(PROVIDER, 4) for _ in range(2)))
    pass_ms(redis, 40_000)
    await asyncio.gather(*(limiter.admit(PROVIDER, 4) for _ in range(2)))
    pass_ms(redis, 20_000)

    admitted = await asyncio.gather(*(is_admitted(limiter, 4) for _ in range(4)))

    assert sum(admitted) == 2


async def test_the_refused_use_nothing_up(limiter, redis):
    await limiter.admit(PROVIDER, 1)

    await asyncio.gather(*(is_admitted(limiter, 1) for _ in range(10)))

    assert redis.zcard(LOG) == 1


async def test_a_log_that_nobody_adds_to_is_forgotten(limiter, redis):
    await limiter.admit(PROVIDER, 1)

    assert 0 < redis.pttl(LOG) <= 60_000


async def test_a_changed_limit_counts_at_once(limiter):
    await limiter.admit(PROVIDER, 1)

    assert not await is_admitted(limiter, 1)
    assert await is_admitted(limiter, 2)


async def test_a_redis_that_forgot_the_script_is_told_it_again(limiter, redis):
    await limiter.admit(PROVIDER, 1)
    redis.script_flush()

    assert not await is_admitted(limiter, 1)


def unchecked():
    return REGISTRY.get_sample_value("llmhub_rate_limits_unchecked_total", {"provider": PROVIDER}) or 0


async def assert_let_in_soon(url, caplog):
    limiter = RateLimiter(url)
    began_s, unchecked_before = time.monotonic(), unchecked()

    await limiter.admit(PROVIDER, 1)
    await limiter.admit(PROVIDER, 1)

    assert time.monotonic() - began_s < 3
    warnings = [record.getMessage() for record in caplog.records if record.name == "providers.resolution.limits"]
    assert len(warnings) == 1  # the second was not sent to a Redis that had just failed
    assert unchecked() - unchecked_before == 2
    assert all(message.startswith("Rate limit of limited not checked") for message in warnings)
    assert "canary" not in caplog.text
    await limiter.close()


async def test_a_redis_that_is_down_does_not_hold_up_chats(free_port, caplog):
    await assert_let_in_soon(f"redis://:canary-of-the-tests@127.0.0.1:{free_port}/0", caplog)


async def test_a_redis_that_is_paused_does_not_hold_up_chats(silent_server, caplog):
    await assert_let_in_soon(silent_server, caplog)


async def test_a_crowd_does_not_wait_longer_for_a_paused_redis_than_one(silent_server, caplog):
    limiter = RateLimiter(silent_server)
    began_s = time.monotonic()

    await asyncio.gather(*(limiter.admit(PROVIDER, 1) for _ in range(100)))

    assert time.monotonic() - began_s < 5
    assert {record.levelno for record in caplog.records if record.name == "providers.resolution.limits"} == {
        logging.WARNING
    }
    await limiter.close()


async def test_a_redis_that_refuses_the_password_is_no_reason_to_refuse_a_chat(caplog):
    limiter = RateLimiter(settings.REDIS_URL.replace("://", "://nobody:canary-of-the-tests@").replace("@:", "@"))

    await limiter.admit(PROVIDER, 1)

    assert "Rate limit of limited not checked" in caplog.text
    assert "canary" not in caplog.text
    await limiter.close()
