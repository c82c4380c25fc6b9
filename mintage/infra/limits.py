"""Counts in this process, under a bounded number of keys; several processes count each for itself."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from mintage.application.ports.limits import Budget
from mintage.application.refusals import RateLimited
from mintage.application.transaction import Unavailable

KEYS_MAX: Final = 50_000
"""Keys that are counted at a time, for each length of window. One more, and the oldest starts over."""
WAITING_MAX: Final = 32
"""How many wait for their turn under one budget, beside the one whose turn it is."""


class _Window(msgspec.Struct):
    ends: datetime
    count: int = 0


class _Turn:
    """Forgotten when nobody has it and nobody waits for it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class MemoryLimits:
    """Implements ``ports.limits.Limiter``."""

    def __init__(self, clock: Callable[[], datetime], keys_max: int = KEYS_MAX) -> None:
        self._clock = clock
        self._keys_max = keys_max
        # By length, so that those begun first end first and stand in front.
        self._windows: dict[int, dict[bytes, _Window]] = {}
        self._turns: WeakValueDictionary[bytes, _Turn] = WeakValueDictionary()

    async def take(self, budgets: Sequence[Budget]) -> None:
        now = self._clock()
        found = [(budget, self._running(budget, now)) for budget in budgets]
        ends = [window.ends for budget, window in found if window and window.count >= budget.rule.most]
        if ends:
            raise RateLimited(math.ceil((max(ends) - now).total_seconds()))
        for budget, window in found:
            (window or self._begun(budget, now)).count += 1

    async def give_back(self, budgets: Sequence[Budget]) -> None:
        now = self._clock()
        for budget in budgets:
            window = self._running(budget, now)
            if window and window.count:
                window.count -= 1

    @asynccontextmanager
    async def turn(self, budget: Budget) -> AsyncIterator[None]:
        turn = self._turns.setdefault(digest(budget), _Turn())
        if turn.waiting >= WAITING_MAX:
            raise Unavailable("too many wait for their turn")
        turn.waiting += 1
        try:
            await turn.lock.acquire()
        finally:
            turn.waiting -= 1
        try:
            yield
        finally:
            turn.lock.release()

    def _running(self, budget: Budget, now: datetime) -> _Window | None:
        window = self._windows.get(budget.rule.window_s, {}).get(digest(budget))
        return window if window and window.ends > now else None

    def _begun(self, budget: Budget, now: datetime) -> _Window:
        windows = self._windows.setdefault(budget.rule.window_s, {})
        while windows:
            oldest = next(iter(windows))
            if windows[oldest].ends > now and len(windows) < self._keys_max:
                break
            del windows[oldest]
        key = digest(budget)
        windows.pop(key, None)
        window = windows[key] = _Window(now + timedelta(seconds=budget.rule.window_s))
        return window


class NoLimits:
    """Implements ``ports.limits.Limiter`` for load tests: nothing is too often."""

    async def take(self, budgets: Sequence[Budget]) -> None:
        pass

    async def give_back(self, budgets: Sequence[Budget]) -> None:
        pass

    def turn(self, budget: Budget) -> AbstractAsyncContextManager[None]:  # noqa: ARG002 -- the port's signature
        return nullcontext()


def digest(budget: Budget, secret: bytes = b"") -> bytes:
    """What a budget is counted under: as short for a key of a megabyte, and with a secret unreadable to others."""
    return blake2b(f"{budget.rule.name}\n{budget.key}".encode(), digest_size=16, key=secret).digest()
