"""A credit account never spends what it does not have, and every hold ends exactly once.

Lots are spent by their priority, then the soonest to expire first, then promotional before paid, then the oldest;
what comes back goes to the very lots it came from. What is owed is paid by the first credits that come in.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias, assert_never

from mintage.domain.credits.account import CreditAccount, Hold, Lots, evolve, split, sum_of
from mintage.domain.credits.events import (
    PRIORITY,
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    HoldReleased,
    Lot,
    PaymentUndone,
    Release,
    Slice,
    Source,
    SpendingReversed,
    Terms,
)
from mintage.domain.decider import Command, Decider, Refusal


class GrantCredits(Command, frozen=True):
    """A lot comes in; ``paid_fen`` is what was paid for it, 0 for a gift. Terms as in ``Terms``."""

    transaction_id: str
    amount: int
    source: Source
    description: str
    now: datetime
    paid_fen: int = 0
    payment_method: str | None = None
    expires_at: datetime | None = None
    priority: int = PRIORITY
    reference: str | None = None


class ConsumeCredits(Command, frozen=True):
    transaction_id: str
    amount: int
    description: str
    now: datetime


class HoldCredits(Command, frozen=True):
    """Set credits aside for a task, until ``expires_at`` at the latest; the hold's id is the task's."""

    hold_id: str
    amount: int
    description: str
    product: str
    now: datetime
    expires_at: datetime | None = None


class CaptureHold(Command, frozen=True):
    """End a hold by spending ``amount`` of it, at least one credit and at most all."""

    hold_id: str
    transaction_id: str
    amount: int
    description: str
    now: datetime


class ReleaseHold(Command, frozen=True):
    hold_id: str
    reason: Release
    now: datetime


class ExpireCredits(Command, frozen=True):
    """Let go of what is past its date now."""

    now: datetime


class ReverseSpending(Command, frozen=True):
    """Give back what a transaction spent; ``terms`` are those of the lots it took from."""

    transaction_id: str
    spent: CreditsConsumed | HoldCaptured
    terms: Mapping[int, Terms]
    description: str
    now: datetime


class RemoveCredits(Command, frozen=True):
    """Take credits away for the adjustment ``reference``."""

    transaction_id: str
    amount: int
    description: str
    reference: str
    now: datetime


class ClawBack(Command, frozen=True):
    """Take back what an order had bought for ``refunded_fen``; what is not there any more will be owed."""

    transaction_id: str
    recharge_id: str
    reference: str
    reason: PaymentUndone
    amount: int
    refunded_fen: int
    payment_method: str
    description: str
    now: datetime


CreditCommand: TypeAlias = (
    GrantCredits
    | ConsumeCredits
    | HoldCredits
    | CaptureHold
    | ReleaseHold
    | ExpireCredits
    | ReverseSpending
    | RemoveCredits
    | ClawBack
)


class InsufficientCredits(Refusal):
    def __init__(self, *, required: int, available: int) -> None:
        super().__init__(f"{required} credits required, {available} available")
        self.required = required
        self.available = available


class HoldNotOpen(Refusal):
    """The hold has ended already, or never was."""

    def __init__(self, hold_id: str) -> None:
        super().__init__(f"hold {hold_id} is not open")
        self.hold_id = hold_id


class HoldExists(Refusal):
    """The hold's id was used already; without it where the account does not know of the hold any more."""

    def __init__(self, hold_id: str | None = None) -> None:
        super().__init__(
            "a hold of this id has ended already" if hold_id is None else f"hold {hold_id} is open already"
        )
        self.hold_id = hold_id


class CaptureExceedsHold(Refusal):
    def __init__(self, *, amount: int, held: int) -> None:
        super().__init__(f"{amount} credits to capture, {held} held")
        self.amount = amount
        self.held = held


class AlreadyReversed(Refusal):
    """The transaction was reversed before; that is done once."""


def decide(command: CreditCommand, account: CreditAccount) -> tuple[CreditEvent, ...]:
    match command:
        case ConsumeCredits():
            expired, account = _expire(account, command.now)
            consumed = CreditsConsumed(
                transaction_id=command.transaction_id,
                amount=command.amount,
                description=command.description,
                taken=_spend(account, command.amount),
            )
            return (*expired, consumed) if expired else (consumed,)
        case HoldCredits():
            return _hold(command, account)
        case CaptureHold():
            captured = _capture(command, _open_hold(account, command.hold_id), account.lots)
            return _settled(account, captured, command.now) if captured.returned else (captured,)
        case ReleaseHold(hold_id=hold_id, reason=reason):
            lots = _open_hold(account, hold_id).lots
            returned = tuple(Slice(lot.number, lot.amount, lot.fen) for lot in lots)
            released = HoldReleased(hold_id=hold_id, amount=sum_of(lots), returned=returned, reason=reason)
            return _settled(account, released, command.now)
        case GrantCredits():
            assert command.amount > 0, command.amount
            assert command.paid_fen >= 0, command.paid_fen
            granted = CreditsGranted(
                transaction_id=command.transaction_id,
                lot=account.lots_granted + 1,
                amount=command.amount,
                source=command.source,
                description=command.description,
                paid_fen=command.paid_fen,
                payment_method=command.payment_method,
                expires_at=command.expires_at,
                priority=command.priority,
                reference=command.reference,
            )
            return _settled(account, granted, command.now)
        case ExpireCredits(now=now):
            return _expire(account, now)[0]
        case ReverseSpending():
            return _settled(account, _reverse(command, account), command.now)
        case RemoveCredits():
            expired, account = _expire(account, command.now)
            removed = CreditsRemoved(
                transaction_id=command.transaction_id,
                amount=command.amount,
                description=command.description,
                taken=_spend(account, command.amount),
                reference=command.reference,
            )
            return (*expired, removed)
        case ClawBack():
            return _claw_back(command, account)
        case _:
            assert_never(command)


def _hold(command: HoldCredits, account: CreditAccount) -> tuple[CreditEvent, ...]:
    if command.hold_id in account.holds:
        raise HoldExists(command.hold_id)
    expired, account = _expire(account, command.now)
    held = CreditsHeld(
        hold_id=command.hold_id,
        amount=command.amount,
        description=command.description,
        taken=_spend(account, command.amount),
        product=command.product,
        expires_at=command.expires_at,
    )
    return (*expired, held)


def _capture(command: CaptureHold, hold: Hold, beside: Lots) -> HoldCaptured:
    held = sum_of(hold.lots)
    assert command.amount > 0, command.amount
    if command.amount > held:
        raise CaptureExceedsHold(amount=command.amount, held=held)
    taken = _slices(hold.lots, command.amount, beside)
    spent = {part.lot: part for part in taken}
    returned: list[Slice] = []
    for lot in hold.lots:
        part = spent.get(lot.number, Slice(lot.number, 0))
        if part.amount < lot.amount:
            returned.append(Slice(lot.number, lot.amount - part.amount, lot.fen - part.fen))
    return HoldCaptured(
        hold_id=command.hold_id,
        transaction_id=command.transaction_id,
        amount=command.amount,
        taken=taken,
        description=command.description,
        product=hold.product,
        returned=tuple(returned),
    )


def _reverse(command: ReverseSpending, account: CreditAccount) -> SpendingReversed:
    spent = command.spent
    if spent.transaction_id in account.reversed_ids:
        raise AlreadyReversed
    return SpendingReversed(
        transaction_id=command.transaction_id,
        reverses=spent.transaction_id,
        amount=spent.amount,
        description=command.description,
        returned=tuple(Lot(part.lot, part.amount, part.fen, command.terms[part.lot]) for part in spent.taken),
        product=spent.product if isinstance(spent, HoldCaptured) else None,
    )


def _claw_back(command: ClawBack, account: CreditAccount) -> tuple[CreditEvent, ...]:
    """What the order itself brought goes first, then whatever would be spent first."""
    # A few fen may be worth no credit.
    assert command.amount >= 0, command.amount
    expired, account = _expire(account, command.now)
    own = tuple(lot for lot in account.lots if lot.terms.reference == command.recharge_id)
    others = tuple(lot for lot in account.lots if lot.terms.reference != command.recharge_id)
    there = min(command.amount, account.available)
    clawed = CreditsClawedBack(
        transaction_id=command.transaction_id,
        recharge_id=command.recharge_id,
        reference=command.reference,
        reason=command.reason,
        amount=command.amount,
        refunded_fen=command.refunded_fen,
        payment_method=command.payment_method,
        description=command.description,
        taken=_slices((*own, *others), there),
        owed=command.amount - there,
    )
    return (*expired, clawed)


def _settled(account: CreditAccount, event: CreditEvent, now: datetime) -> tuple[CreditEvent, ...]:
    """Credits came in or back: what is past its date goes, and of the rest what is owed is paid."""
    expired, account = _expire(evolve(account, event), now)
    due = min(account.owed, account.available)
    if due:
        return (event, *expired, DebtPaid(amount=due, taken=_slices(account.lots, due)))
    return (event, *expired)


def _expire(account: CreditAccount, now: datetime) -> tuple[tuple[CreditsExpired, ...], CreditAccount]:
    """What is past its date, and the account without it."""
    expired: tuple[CreditsExpired, ...] = ()
    for lot in account.lots:
        due = lot.terms.expires_at
        if due is not None and due <= now:
            event = CreditsExpired(lot=lot.number, amount=lot.amount, fen=lot.fen)
            expired = (*expired, event)
            account = evolve(account, event)
    return expired, account


def _spend(account: CreditAccount, amount: int) -> tuple[Slice, ...]:
    assert amount > 0, amount
    if amount > account.available:
        raise InsufficientCredits(required=amount, available=account.available)
    return _slices(account.lots, amount)


def _slices(lots: Lots, amount: int, beside: Lots = ()) -> tuple[Slice, ...]:
    """The first so many credits of these lots, which have them; what stays of the last goes ``beside`` its like."""
    taken: list[Slice] = []
    for lot in lots:
        if not amount:
            break
        part = min(lot.amount, amount)
        like = [other for other in beside if other.number == lot.number] if beside else ()
        taken.append(split(lot, part, *like))
        amount -= part
    return tuple(taken)


def _open_hold(account: CreditAccount, hold_id: str) -> Hold:
    try:
        return account.holds[hold_id]
    except KeyError:
        raise HoldNotOpen(hold_id) from None


CREDITS: Decider[CreditAccount, CreditCommand, CreditEvent] = Decider(
    "credits", CreditAccount(), decide, evolve, shape=2, snapshot_every=50
)
