"""Adjustments by finance: with a reason always, by two persons above a limit, and whole or not at all."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from mintage.application.once import Repeatable, Reply, once
from mintage.application.transaction import Journal, Transaction
from mintage.domain.adjustment.decider import (
    ADJUSTMENT,
    Adjustment,
    ApproveAdjustment,
    RejectAdjustment,
    RequestAdjustment,
    Status,
)
from mintage.domain.credits.decider import CREDITS, GrantCredits, RemoveCredits
from mintage.domain.credits.events import PRIORITY
from mintage.domain.fields import InvalidFields, Reason, is_blank
from mintage.domain.registration.decider import REGISTRATION, PersonUnknown

ADJUSTMENT_LIMIT: Final = 1_000
AMOUNT_MAX: Final = 1_000_000
REASON_MAX: Final = 200
PRIORITY_MAX: Final = 100
EXPIRES_WITHIN: Final = timedelta(days=36_500)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """``amount`` credits to be added, or removed if it is below zero; the rest of the terms is for what is added."""

    user_id: str
    amount: int
    reason: str
    expires_at: datetime | None = None
    priority: int | None = None


class Adjusted(msgspec.Struct, frozen=True):
    """What became of an adjustment; its line on the person's statement, if it was applied, has the same id."""

    adjustment_id: str
    user_id: str
    amount: int
    status: Status


class Adjustments:
    """``limit`` is the most credits that one person may add or remove alone."""

    def __init__(self, journal: Journal, new_id: Callable[[], str], limit: int = ADJUSTMENT_LIMIT) -> None:
        self._journal = journal
        self._new_id = new_id
        self._limit = limit

    async def request(
        self,
        wish: Wish,
        *,
        actor: str,
        render: Callable[[Adjusted], bytes] = lambda _: b"",
        repeatable: Repeatable | None = None,
    ) -> Reply[Adjusted]:
        """Adjust at once, or ask for a second person if it is above the limit.

        Raises ``InvalidFields``, ``PersonUnknown``, ``OwnAccount``, ``InsufficientCredits``, ``KeyReused``.
        """
        _check(wish)
        adjustment_id = self._new_id()

        def work(transaction: Transaction) -> Adjusted:
            if wish.expires_at is not None:
                _check_ahead(wish.expires_at, transaction.now)
            _require_person(transaction, wish.user_id)
            command = RequestAdjustment(
                user_id=wish.user_id,
                amount=wish.amount,
                reason=wish.reason,
                requested_by=actor,
                limit=self._limit,
                priority=PRIORITY if wish.priority is None else wish.priority,
                expires_at=None if wish.expires_at is None else wish.expires_at.astimezone(UTC),
            )
            adjustment = transaction.begin(ADJUSTMENT, adjustment_id, command)
            if adjustment.status == "applied":
                _apply(transaction, adjustment_id, adjustment)
            return _outcome(adjustment_id, adjustment)

        return await self._journal.transact(once(repeatable, work, render), actor=actor)

    async def approve(
        self,
        adjustment_id: str,
        *,
        actor: str,
        render: Callable[[Adjusted], bytes] = lambda _: b"",
        repeatable: Repeatable | None = None,
    ) -> Reply[Adjusted]:
        """Carry out what somebody else asked for; what cannot be carried out stays pending.

        Raises ``AdjustmentUnknown``, ``AdjustmentDecided``, ``OwnAccount``, ``SecondPersonNeeded``,
        ``PersonUnknown``, ``InsufficientCredits``, ``KeyReused``.
        """

        def work(transaction: Transaction) -> Adjusted:
            adjustment = transaction.execute(ADJUSTMENT, adjustment_id, ApproveAdjustment(approved_by=actor))
            _require_person(transaction, adjustment.user_id)
            _apply(transaction, adjustment_id, adjustment)
            return _outcome(adjustment_id, adjustment)

        return await self._journal.transact(once(repeatable, work, render), actor=actor)

    async def reject(
        self,
        adjustment_id: str,
        *,
        actor: str,
        render: Callable[[Adjusted], bytes] = lambda _: b"",
        repeatable: Repeatable | None = None,
    ) -> Reply[Adjusted]:
        """See to it that an adjustment never takes effect.

        Raises ``AdjustmentUnknown``, ``AdjustmentDecided``, ``OwnAccount``, ``KeyReused``.
        """

        def work(transaction: Transaction) -> Adjusted:
            adjustment = transaction.execute(ADJUSTMENT, adjustment_id, RejectAdjustment(rejected_by=actor))
            return _outcome(adjustment_id, adjustment)

        return await self._journal.transact(once(repeatable, work, render), actor=actor)


def _apply(transaction: Transaction, adjustment_id: str, adjustment: Adjustment) -> None:
    """The movement has the adjustment's own id, so that there can never be two of them."""
    amount = abs(adjustment.amount)
    command: GrantCredits | RemoveCredits
    if adjustment.amount > 0:
        command = GrantCredits(
            transaction_id=adjustment_id,
            amount=amount,
            source="adjustment",
            description=f"人工调整增加{amount}积分",
            expires_at=adjustment.expires_at,
            priority=adjustment.priority,
            reference=adjustment_id,
            now=transaction.now,
        )
    else:
        command = RemoveCredits(
            transaction_id=adjustment_id,
            amount=amount,
            description=f"人工调整扣除{amount}积分",
            reference=adjustment_id,
            now=transaction.now,
        )
    transaction.execute(CREDITS, adjustment.user_id, command)


def _require_person(transaction: Transaction, user_id: str) -> None:
    person = transaction.state(REGISTRATION, user_id)
    if not person.user_id or person.erased:
        raise PersonUnknown


def _outcome(adjustment_id: str, adjustment: Adjustment) -> Adjusted:
    return Adjusted(adjustment_id, adjustment.user_id, adjustment.amount, adjustment.status)


def _check(wish: Wish) -> None:
    """Raises ``InvalidFields`` with all that is wrong whatever the time is."""
    wrong: dict[str, Reason] = {}
    if not wish.amount:
        wrong["amount"] = Reason("zero")
    elif abs(wish.amount) > AMOUNT_MAX:
        wrong["amount"] = Reason("between", low=-AMOUNT_MAX, high=AMOUNT_MAX)
    if is_blank(wish.reason):
        wrong["reason"] = Reason("required")
    elif len(wish.reason) > REASON_MAX:
        wrong["reason"] = Reason("length", low=1, high=REASON_MAX)
    if wish.priority is not None and not 0 <= wish.priority <= PRIORITY_MAX:
        wrong["priority"] = Reason("between", low=0, high=PRIORITY_MAX)
    if wish.amount < 0:
        wrong |= {name: Reason("for_grants") for name in ("expires_at", "priority") if getattr(wish, name) is not None}
    if wrong:
        raise InvalidFields(wrong)


def _check_ahead(expires_at: datetime, now: datetime) -> None:
    if not now < expires_at <= now + EXPIRES_WITHIN:
        raise InvalidFields({"expires_at": Reason("ahead")})
