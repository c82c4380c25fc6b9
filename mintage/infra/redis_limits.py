"""Counts together with other processes, in Redis; without it, by oneself or not at all, as the rule says.

Redis sees keyed hashes and numbers, never whom they are about.
"""

import hmac
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from mintage.application.ports.limits import Budget, Limiter
from mintage.application.refusals import RateLimited
from mintage.application.transaction import Unavailable
from mintage.infra.limits import digest

CONNECTIONS_MAX: Final = 16
TIMEOUT_S: Final = 1.0
"""How long to wait for a connection, and then for an answer, before Redis is taken to be away."""
AWAY_S: Final = 5
"""How long nobody asks a Redis that was away."""

# Both run whole or not at all, with nothing in between. Windows are in milliseconds.
_TAKE: Final = """
local wait = 0
for i, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or 0) >= tonumber(ARGV[2 * i - 1]) then
        wait = math.max(wait, redis.call('PTTL', key), 1)
    end
end
if wait == 0 then
    for i, key in ipairs(KEYS) do
        redis.call('SET', key, 0, 'PX', ARGV[2 * i], 'NX')
        redis.call('INCR', key)
    end
end
return wait"""
_GIVE_BACK: Final = """
for _, key in ipairs(KEYS) do
    if tonumber(redis.call('GET', key) or 0) > 0 then
        redis.call('DECR', key)
    end
end
return 0"""

_log = logging.getLogger(__name__)


def redis_at(url: str, timeout_s: float = TIMEOUT_S) -> Redis:
    """A client that gives up soon and tries nothing twice; connects when it is first asked something."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


class RedisLimits:
    """Implements ``ports.limits.Limiter``. ``alone`` counts while Redis is away; the two are never added up."""

    def __init__(self, redis: Redis, alone: Limiter, secret: bytes, clock: Callable[[], datetime]) -> None:
        self._alone = alone
        self._secret = hmac.digest(secret, b"rate limits", "sha256")
        self._clock = clock
        self._take = redis.register_script(_TAKE)
        self._give_back = redis.register_script(_GIVE_BACK)
        self._away_until: datetime | None = None

    async def take(self, budgets: Sequence[Budget]) -> None:
        bounds = [bound for budget in budgets for bound in (budget.rule.most, budget.rule.window_s * 1_000)]
        wait_ms = await self._run(self._take, budgets, bounds)
        if wait_ms is None:
            if any(budget.rule.fail_closed for budget in budgets):
                raise Unavailable("what is counted together cannot be read", AWAY_S)
            await self._alone.take(budgets)
        elif wait_ms:
            raise RateLimited(ceil(wait_ms / 1_000))

    async def give_back(self, budgets: Sequence[Budget]) -> None:
        if await self._run(self._give_back, budgets, ()) is None:
            await self._alone.give_back(budgets)

    def turn(self, budget: Budget) -> AbstractAsyncContextManager[None]:
        return self._alone.turn(budget)

    async def _run(self, script: Any, budgets: Sequence[Budget], arguments: Sequence[int]) -> int | None:
        """What the script comes to; None if Redis is away."""
        now = self._clock()
        if self._away_until is not None:
            if now < self._away_until:
                return None
            # One finds out whether it is back; the others go on without.
            self._away_until = now + timedelta(seconds=AWAY_S)
        keys = [f"mintage:limit:{budget.rule.name}:{digest(budget, self._secret).hex()}" for budget in budgets]
        try:
            answer = int(await script(keys, arguments))
        except (RedisError, OSError) as error:
            if self._away_until is None:
                _log.warning("Redis is away, limits are counted by this process alone: %s", error)
            self._away_until = self._clock() + timedelta(seconds=AWAY_S)
            return None
        if self._away_until is not None:
            _log.info("Redis is back, limits are counted together again")
            self._away_until = None
        return answer
