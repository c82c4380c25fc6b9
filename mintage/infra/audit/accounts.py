"""The rules of a credit account, judged event by event without the code that decides what may happen.

What is spent is there, in the order in which it is to be spent, with its share of what was paid; a hold ends once and
as a whole; what is owed is paid first.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, assert_never

import msgspec

from mintage.domain.credits.account import NEVER, CreditAccount, Hold, Lots, evolve, sum_of
from mintage.domain.credits.events import (
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
    Slice,
    SpendingReversed,
)
from mintage.infra.audit.findings import Broken

_ANY_TIME: Final = datetime.min.replace(tzinfo=NEVER.tzinfo)


def followed(account: CreditAccount, event: CreditEvent, at: datetime) -> CreditAccount:
    """The account after an event that was recorded ``at``; raises ``Broken`` if it does not follow."""
    if event.amount <= 0 and not isinstance(event, CreditsClawedBack):
        raise Broken(f"an amount of {event.amount}")
    _judge(account, event, at)
    account = evolve(account, event)
    if account.available < 0 or account.held < 0 or account.owed < 0:
        raise Broken(f"available {account.available}, held {account.held}, owed {account.owed}")
    return account


class Debits(msgspec.Struct, gc=False):
    """Debits in a row that each take a part of one lot without a date, and leave some of it.

    Each is judged by itself and they are folded as one, ``whole``: nearly all of a long log are such.
    """

    lot: Lot
    """As it was before them."""
    amount: int = 0
    fen: int = 0

    @classmethod
    def on(cls, account: CreditAccount) -> "Debits | None":
        """None yet; no debit of the account is such a one if it has no lot, owes, or spends by date."""
        if not account.lots or account.owed or account.lots[0].terms.expires_at is not None:
            return None
        return cls(account.lots[0])

    def take(self, event: CreditsConsumed) -> bool:
        """Add a lawful one; False if it is not such a debit: then ``followed`` knows what is wrong, if anything is."""
        lot, amount, taken = self.lot, event.amount, event.taken
        spent = self.amount + amount
        if len(taken) != 1 or amount <= 0 or spent >= lot.amount:
            return False
        part = taken[0]
        if part.lot != lot.number or part.amount != amount:
            return False
        fen = 0
        if lot.fen:
            left = Lot(lot.number, lot.amount - self.amount, lot.fen - self.fen, lot.terms)
            fen = _fen_of(left, amount, ())
        if part.fen != fen:
            return False
        self.amount = spent
        self.fen += fen
        return True

    def whole(self) -> CreditsConsumed:
        """What they come to."""
        return CreditsConsumed("", self.amount, "", (Slice(self.lot.number, self.amount, self.fen),))


def overdue(account: CreditAccount, at: datetime) -> int | None:
    """The first lot that is there at a time past its date."""
    for lot in account.lots:
        due = lot.terms.expires_at
        if due is not None and due <= at:
            return lot.number
    return None


def fen_left(account: CreditAccount) -> int:
    """What was paid for the credits that are there, held or not."""
    fen = sum([lot.fen for lot in account.lots])
    for hold in account.holds.values():
        fen += sum([lot.fen for lot in hold.lots])
    return fen


def _judge(account: CreditAccount, event: CreditEvent, at: datetime) -> None:
    match event:
        case CreditsConsumed() | CreditsRemoved():
            _require_spent(account.lots, event.taken, event.amount, at)
        case CreditsGranted() | HoldCaptured() | HoldReleased() | SpendingReversed():
            _judge_return(account, event, at)
        case CreditsHeld(hold_id=hold_id):
            if hold_id in account.holds:
                raise Broken(f"hold {hold_id} is open already")
            _require_zone(event.expires_at)
            _require_spent(account.lots, event.taken, event.amount, at)
        case CreditsExpired():
            _require_expired(account.lots, event, at)
        case CreditsClawedBack():
            _require_clawed_back(account, event, at)
        case DebtPaid(amount=amount):
            if amount != min(account.owed, account.available):
                raise Broken(f"{amount} paid of {account.owed} owed with {account.available} there")
            _require_spent(account.lots, event.taken, amount, at)
        case _:
            assert_never(event)


def _judge_return(
    account: CreditAccount, event: CreditsGranted | HoldCaptured | HoldReleased | SpendingReversed, at: datetime
) -> None:
    """What comes in or back."""
    match event:
        case CreditsGranted(lot=lot, paid_fen=fen):
            if lot != account.lots_granted + 1 or fen < 0:
                raise Broken(f"lot {lot} for {fen} fen after lot {account.lots_granted}")
            if event.source != "recharge" and (fen or event.payment_method is not None):
                raise Broken(f"{fen} fen paid for a {event.source}")
            _require_zone(event.expires_at)
        case HoldCaptured():
            _require_captured(_hold(account, event.hold_id), event, account.lots)
        case HoldReleased():
            hold = _hold(account, event.hold_id)
            if event.returned != _slices(hold.lots) or event.amount != sum_of(hold.lots):
                raise Broken("what was returned is not what was held")
            if event.reason == "expired" and (hold.expires_at is None or hold.expires_at > at):
                raise Broken(f"hold {event.hold_id} expired before its time")
        case SpendingReversed(returned=returned, reverses=reverses):
            if reverses in account.reversed_ids:
                raise Broken(f"transaction {reverses} was reversed before")
            if event.amount != sum_of(returned) or not all(0 < lot.number <= account.lots_granted for lot in returned):
                raise Broken("what came back is not what was spent")
            for part in returned:
                _require_zone(part.terms.expires_at)
        case _:
            assert_never(event)


def _require_spent(lots: Lots, taken: Sequence[Slice], amount: int, at: datetime, beside: Lots = ()) -> None:
    """The slices are the first ``amount`` credits of these lots, none of which has expired.

    Each has the fen that it is to have; ``beside`` are the lots to which what stays of these goes back.
    """
    left = amount
    # The lots may be fewer than the slices: what is missing shows in the sum.
    for part, lot in zip(taken, lots, strict=False):
        if part.lot != lot.number or part.amount != min(left, lot.amount):
            raise Broken(f"takes {part.amount} of lot {part.lot} where {lot.amount} of lot {lot.number} come first")
        fen = _fen_of(lot, part.amount, beside)
        if part.fen != fen:
            raise Broken(f"takes {part.fen} fen with {part.amount} of lot {lot.number}; {fen} of its {lot.fen} are due")
        due = lot.terms.expires_at
        if due is not None and due <= at:
            raise Broken(f"takes of lot {lot.number}, which expired before")
        left -= part.amount
    if left or len(taken) > len(lots):
        raise Broken(f"what was taken does not make up {amount} of what was there")


def _fen_of(lot: Lot, amount: int, beside: Lots) -> int:
    """The fen that go with so many credits of a lot: whatever stays keeps its share of the price, rounded down."""
    if amount == lot.amount or not lot.fen:
        return lot.fen
    staying, fen = lot.amount - amount, lot.fen
    for other in beside:
        if other.number == lot.number:
            staying += other.amount
            fen += other.fen
    kept = lot.terms.paid_fen * staying // lot.terms.amount
    return min(max(fen - kept, 0), lot.fen)


def _require_captured(hold: Hold, event: HoldCaptured, beside: Lots) -> None:
    # What is held may be spent however old it is: it was set aside in time.
    _require_spent(hold.lots, event.taken, event.amount, _ANY_TIME, beside)
    spent = {part.lot: part for part in event.taken}
    rest = tuple(
        Slice(lot.number, lot.amount - part.amount, lot.fen - part.fen)
        for lot in hold.lots
        if (part := spent.get(lot.number, Slice(0, 0))).amount < lot.amount
    )
    if event.returned != rest:
        raise Broken("what was captured and what was returned do not make up the hold")
    if event.product != hold.product:
        raise Broken(f"held for {hold.product}, captured for {event.product}")


def _require_expired(lots: Lots, event: CreditsExpired, at: datetime) -> None:
    lot = next((lot for lot in lots if lot.number == event.lot), None)
    if lot is None or (event.amount, event.fen) != (lot.amount, lot.fen):
        raise Broken(f"lot {event.lot} is not what expired")
    if lot.terms.expires_at is None or lot.terms.expires_at > at:
        raise Broken(f"lot {event.lot} expired before its date")


def _require_clawed_back(account: CreditAccount, event: CreditsClawedBack, at: datetime) -> None:
    """What the order brought goes first, then the others; only what is not there may be owed."""
    there = event.amount - event.owed
    if there != min(event.amount, account.available) or event.amount < 0 or event.refunded_fen <= 0:
        raise Broken(f"{event.owed} owed of {event.amount} with {account.available} there")
    own = tuple(lot for lot in account.lots if lot.terms.reference == event.recharge_id)
    others = tuple(lot for lot in account.lots if lot.terms.reference != event.recharge_id)
    _require_spent((*own, *others), event.taken, there, at)


def _require_zone(time: datetime | None) -> None:
    if time is not None and time.tzinfo is None:
        raise Broken(f"expires at {time} of no time zone")


def _hold(account: CreditAccount, hold_id: str) -> Hold:
    hold = account.holds.get(hold_id)
    if hold is None:
        raise Broken(f"hold {hold_id} is not open")
    return hold


def _slices(lots: Lots) -> tuple[Slice, ...]:
    return tuple(Slice(lot.number, lot.amount, lot.fen) for lot in lots)
