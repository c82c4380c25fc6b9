"""Finance gives back what was spent, once, to the very lots it came from."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from mintage.application.once import Repeatable, Reply, once
from mintage.application.refusals import NotReversible, TransactionUnknown
from mintage.application.transaction import Journal, Transaction
from mintage.domain.adjustment.decider import OwnAccount
from mintage.domain.credits.decider import CREDITS, ReverseSpending
from mintage.domain.credits.events import CreditsConsumed, HoldCaptured, Terms
from mintage.domain.fields import InvalidFields, Reason, is_blank


class Spending(msgspec.Struct, frozen=True):
    """A transaction as the log has it: ``spent`` is None if it spent nothing; ``terms`` are those of its lots."""

    user_id: str
    spent: CreditsConsumed | HoldCaptured | None
    terms: Mapping[int, Terms] = {}


class Spendings(Protocol):
    async def find(self, transaction_id: str) -> Spending | None:
        """The transaction of this id, None if there is none."""
        ...


class Reversal(msgspec.Struct, frozen=True):
    """``amount`` credits came back; ``new_balance`` is what is available after it."""

    transaction_id: str
    reverses: str
    user_id: str
    amount: int
    new_balance: int


class Reversals:
    def __init__(self, journal: Journal, spendings: Spendings, new_id: Callable[[], str]) -> None:
        self._journal = journal
        self._spendings = spendings
        self._new_id = new_id

    async def reverse(
        self,
        transaction_id: str,
        reason: str,
        *,
        actor: str,
        render: Callable[[Reversal], bytes],
        repeatable: Repeatable | None = None,
    ) -> Reply[Reversal]:
        """Give back, once, what a transaction spent; the person reads the reason on their statement.

        Raises ``InvalidFields``, ``TransactionUnknown``, ``NotReversible``, ``OwnAccount``, ``AlreadyReversed``,
        ``KeyReused``.
        """
        if is_blank(reason):
            raise InvalidFields({"reason": Reason("required")})
        spending = await self._spendings.find(transaction_id)
        if spending is None:
            raise TransactionUnknown
        spent = spending.spent
        if spent is None:
            raise NotReversible
        if spending.user_id == actor:
            raise OwnAccount(actor)
        reversal_id = self._new_id()

        def work(transaction: Transaction) -> Reversal:
            command = ReverseSpending(
                transaction_id=reversal_id,
                spent=spent,
                terms=spending.terms,
                description=f"退回已消费的{spent.amount}积分：{reason}",
                now=transaction.now,
            )
            available = transaction.execute(CREDITS, spending.user_id, command).available
            return Reversal(reversal_id, transaction_id, spending.user_id, spent.amount, available)

        return await self._journal.transact(once(repeatable, work, render), actor=actor)
