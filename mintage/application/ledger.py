"""Spending credits, and letting go of what is past its date."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from mintage.application.once import Repeatable, Reply, once
from mintage.application.transaction import Journal, Transaction
from mintage.domain.credits.decider import CREDITS, ConsumeCredits, ExpireCredits


class Consumption(msgspec.Struct, frozen=True, gc=False):
    """``new_balance`` is what is available after it."""

    transaction_id: str
    new_balance: int


class Ledger:
    def __init__(self, journal: Journal, new_id: Callable[[], str]) -> None:
        self._journal = journal
        self._new_id = new_id

    async def consume(
        self,
        user_id: str,
        amount: int,
        description: str,
        *,
        render: Callable[[Consumption], bytes],
        repeatable: Repeatable | None = None,
    ) -> Reply[Consumption]:
        """Spend credits at once. Raises ``InsufficientCredits``, ``KeyReused``."""
        transaction_id = self._new_id()

        def work(transaction: Transaction) -> Consumption:
            command = ConsumeCredits(
                transaction_id=transaction_id, amount=amount, description=description, now=transaction.now
            )
            return Consumption(transaction_id, transaction.execute(CREDITS, user_id, command).available)

        return await self._journal.transact(once(repeatable, work, render), actor=user_id)

    async def expire(self, user_id: str) -> datetime:
        """Let go of what a person has that is past its date; returns the moment as of which that is done."""

        def work(transaction: Transaction) -> datetime:
            transaction.execute(CREDITS, user_id, ExpireCredits(now=transaction.now))
            return transaction.now

        return await self._journal.transact(work, actor="system")
