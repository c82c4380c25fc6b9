"""Counting how often things are done."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """How often something may be done: ``most`` times from the first time on, until ``window_s`` are over.

    ``fail_closed``: where what is counted together cannot be read, it is not done at all.
    """

    name: str
    most: int
    window_s: int
    fail_closed: bool = False


class Budget(msgspec.Struct, frozen=True):
    """A rule as it applies to somebody; what it counts under ``key`` is kept where nobody can read the key."""

    rule: Rule
    key: str


class Limiter(Protocol):
    """Counts how often things are done, in this process or together with others."""

    async def take(self, budgets: Sequence[Budget]) -> None:
        """Count one in every budget or, if any is used up, in none.

        Raises ``RateLimited``, and ``Unavailable`` if a rule fails closed and has to.
        """
        ...

    async def give_back(self, budgets: Sequence[Budget]) -> None:
        """Undo a ``take`` that is not to count; it may be forgotten, but raises nothing."""
        ...

    def turn(self, budget: Budget) -> AbstractAsyncContextManager[None]:
        """Around what is done under a budget: in this process one at a time, in order.

        Raises ``Unavailable`` when too many wait.
        """
        ...
