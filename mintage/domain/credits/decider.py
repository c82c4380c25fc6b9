"""A credit account never spends what it does not have, and every hold ends exactly once.

Lots are spent the soonest to expire first, then promotional before paid, then the oldest; what a hold returns
goes back to the very lots it came from.
"""

from datetime import UTC, datetime
from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from mintage.domain.credits.events import (
    CreditEvent,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    HoldCaptured,
    HoldReleased,
    Release,
    Slice,
    Source,
)
from mintage.domain.decider import Command, Decider, Refusal

NEVER = datetime.max.replace(tzinfo=UTC)


class GrantCredits(Command, frozen=True):
    """A lot comes in; ``paid_fen`` is what was paid for it, 0 for a gift."""

    transaction_id: str
    amount: int
    source: Source
    description: str
    paid_fen: int = 0
    payment_method: str | None = None
    expires_at: datetime | None = None


class ConsumeCredits(Command, frozen=True):
    transaction_id: str
    amount: int
    description: str
    now: datetime


class HoldCredits(Command, frozen=True):
    """Set credits aside for a task; the hold's id is the task's."""

    hold_id: str
    amount: int
    description: str
    now: datetime


class CaptureHold(Command, frozen=True):
    """End a hold by spending ``amount`` of it, at least one credit and at most all."""

    hold_id: str
    transaction_id: str
    amount: int
    description: str


class ReleaseHold(Command, frozen=True):
    hold_id: str
    reason: Release


class ExpireCredits(Command, frozen=True):
    """Let go of what is past its date now."""

    now: datetime


CreditCommand: TypeAlias = GrantCredits | ConsumeCredits | HoldCredits | CaptureHold | ReleaseHold | ExpireCredits


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
    def __init__(self, hold_id: str) -> None:
        super().__init__(f"hold {hold_id} is open already")
        self.hold_id = hold_id


class CaptureExceedsHold(Refusal):
    def __init__(self, *, amount: int, held: int) -> None:
        super().__init__(f"{amount} credits to capture, {held} held")
        self.amount = amount
        self.held = held


class Lot(msgspec.Struct, frozen=True, gc=False):
    """What is left of a grant, or the part of it that a hold took."""

    number: int
    amount: int
    paid: bool
    expires_at: datetime | None = None


class CreditAccount(msgspec.Struct, frozen=True):
    """``lots`` lie in the order in which they will be spent; ``available`` is their sum, ``held`` that of the holds."""

    available: int = 0
    held: int = 0
    lots: tuple[Lot, ...] = ()
    holds: dict[str, tuple[Lot, ...]] = {}
    lots_granted: int = 0


def decide(command: CreditCommand, account: CreditAccount) -> tuple[CreditEvent, ...]:
    match command:
        case ConsumeCredits():
            expired, account = _expire(account, command.now)
            consumed = CreditsConsumed(
                transaction_id=command.transaction_id,
                amount=command.amount,
                description=command.description,
                taken=_take(account, command.amount),
            )
            return (*expired, consumed) if expired else (consumed,)
        case HoldCredits():
            if command.hold_id in account.holds:
                raise HoldExists(command.hold_id)
            expired, account = _expire(account, command.now)
            held = CreditsHeld(
                hold_id=command.hold_id,
                amount=command.amount,
                description=command.description,
                taken=_take(account, command.amount),
            )
            return (*expired, held)
        case CaptureHold():
            return (_capture(command, _open_hold(account, command.hold_id)),)
        case ReleaseHold(hold_id=hold_id, reason=reason):
            lots = _open_hold(account, hold_id)
            returned = tuple(Slice(lot.number, lot.amount) for lot in lots)
            return (HoldReleased(hold_id=hold_id, amount=_sum(lots), returned=returned, reason=reason),)
        case GrantCredits():
            assert command.amount > 0, command.amount
            granted = CreditsGranted(
                transaction_id=command.transaction_id,
                lot=account.lots_granted + 1,
                amount=command.amount,
                source=command.source,
                description=command.description,
                paid=command.paid_fen > 0,
                paid_fen=command.paid_fen,
                payment_method=command.payment_method,
                expires_at=command.expires_at,
            )
            return (granted,)
        case ExpireCredits(now=now):
            return _expire(account, now)[0]
        case _:
            assert_never(command)


def evolve(account: CreditAccount, event: CreditEvent) -> CreditAccount:
    match event:
        case CreditsConsumed(amount=amount, taken=taken):
            return CreditAccount(
                account.available - amount,
                account.held,
                _without(account.lots, taken),
                account.holds,
                account.lots_granted,
            )
        case CreditsHeld(hold_id=hold_id, amount=amount, taken=taken):
            return CreditAccount(
                account.available - amount,
                account.held + amount,
                _without(account.lots, taken),
                {**account.holds, hold_id: _parts(account.lots, taken)},
                account.lots_granted,
            )
        case HoldCaptured(hold_id=hold_id, amount=amount, returned=returned):
            back = sum(part.amount for part in returned)
            return CreditAccount(
                account.available + back,
                account.held - amount - back,
                _with(account.lots, _parts(account.holds[hold_id], returned)),
                _closed(account.holds, hold_id),
                account.lots_granted,
            )
        case HoldReleased(hold_id=hold_id, amount=amount):
            return CreditAccount(
                account.available + amount,
                account.held - amount,
                _with(account.lots, account.holds[hold_id]),
                _closed(account.holds, hold_id),
                account.lots_granted,
            )
        case CreditsGranted(lot=number, amount=amount, paid=paid, expires_at=expires_at):
            return CreditAccount(
                account.available + amount,
                account.held,
                _with(account.lots, (Lot(number, amount, paid, expires_at),)),
                account.holds,
                number,
            )
        case CreditsExpired(lot=number, amount=amount):
            return CreditAccount(
                account.available - amount,
                account.held,
                _without(account.lots, (Slice(number, amount),)),
                account.holds,
                account.lots_granted,
            )
        case _:
            assert_never(event)


def _take(account: CreditAccount, amount: int) -> tuple[Slice, ...]:
    assert amount > 0, amount
    if amount > account.available:
        raise InsufficientCredits(required=amount, available=account.available)
    taken: list[Slice] = []
    for lot in account.lots:
        part = min(lot.amount, amount)
        taken.append(Slice(lot.number, part))
        amount -= part
        if not amount:
            break
    return tuple(taken)


def _expire(account: CreditAccount, now: datetime) -> tuple[tuple[CreditsExpired, ...], CreditAccount]:
    """What is past its date, and the account without it; lots lie with the soonest to expire first."""
    expired: tuple[CreditsExpired, ...] = ()
    while account.lots and (due := account.lots[0].expires_at) is not None and due <= now:
        lot = account.lots[0]
        event = CreditsExpired(lot=lot.number, amount=lot.amount)
        expired = (*expired, event)
        account = evolve(account, event)
    return expired, account


def _capture(command: CaptureHold, lots: tuple[Lot, ...]) -> HoldCaptured:
    held = _sum(lots)
    assert command.amount > 0, command.amount
    if command.amount > held:
        raise CaptureExceedsHold(amount=command.amount, held=held)
    taken: list[Slice] = []
    returned: list[Slice] = []
    due = command.amount
    for lot in lots:
        spent = min(lot.amount, due)
        due -= spent
        if spent:
            taken.append(Slice(lot.number, spent))
        if spent < lot.amount:
            returned.append(Slice(lot.number, lot.amount - spent))
    return HoldCaptured(
        hold_id=command.hold_id,
        transaction_id=command.transaction_id,
        amount=command.amount,
        taken=tuple(taken),
        description=command.description,
        returned=tuple(returned),
    )


def _open_hold(account: CreditAccount, hold_id: str) -> tuple[Lot, ...]:
    try:
        return account.holds[hold_id]
    except KeyError:
        raise HoldNotOpen(hold_id) from None


def _closed(holds: dict[str, tuple[Lot, ...]], hold_id: str) -> dict[str, tuple[Lot, ...]]:
    return {key: lots for key, lots in holds.items() if key != hold_id}


def _sum(lots: tuple[Lot, ...]) -> int:
    return sum(lot.amount for lot in lots)


def _parts(lots: tuple[Lot, ...], slices: tuple[Slice, ...]) -> tuple[Lot, ...]:
    """The slices as lots of their own, with the terms of the lots they are of."""
    by_number = {lot.number: lot for lot in lots}
    return tuple(replace(by_number[part.lot], amount=part.amount) for part in slices)


def _without(lots: tuple[Lot, ...], slices: tuple[Slice, ...]) -> tuple[Lot, ...]:
    # Nearly every debit takes one slice of the lot that is first in line.
    first, part = lots[0], slices[0]
    if len(slices) == 1 and first.number == part.lot:
        if first.amount == part.amount:
            return lots[1:]
        return (Lot(first.number, first.amount - part.amount, first.paid, first.expires_at), *lots[1:])
    gone = {part.lot: part.amount for part in slices}
    left = (replace(lot, amount=lot.amount - gone.get(lot.number, 0)) for lot in lots)
    return tuple(lot for lot in left if lot.amount)


def _with(lots: tuple[Lot, ...], more: tuple[Lot, ...]) -> tuple[Lot, ...]:
    by_number = {lot.number: lot for lot in lots}
    for lot in more:
        there = by_number.get(lot.number)
        by_number[lot.number] = replace(lot, amount=lot.amount + there.amount) if there else lot
    return tuple(sorted(by_number.values(), key=_spending_order))


def _spending_order(lot: Lot) -> tuple[datetime, bool, int]:
    return lot.expires_at or NEVER, lot.paid, lot.number


CREDITS: Decider[CreditAccount, CreditCommand, CreditEvent] = Decider(
    "credits", CreditAccount(), decide, evolve, snapshot_every=50
)
