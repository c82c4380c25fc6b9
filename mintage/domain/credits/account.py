"""The state of a credit account, and how each event changes it: lots stay in the order in which they will be spent."""

from datetime import UTC, datetime
from typing import Final, TypeAlias, assert_never

import msgspec

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
    Terms,
)

NEVER: Final = datetime.max.replace(tzinfo=UTC)
Lots: TypeAlias = tuple[Lot, ...]


class Hold(msgspec.Struct, frozen=True, gc=False):
    """The parts of lots that a hold took."""

    lots: Lots
    product: str
    expires_at: datetime | None = None


class CreditAccount(msgspec.Struct, frozen=True):
    """``available`` is the sum of the lots, ``held`` that of the holds; what is owed is paid before anything is there.

    ``reversed_ids`` are the transactions that were reversed.
    """

    available: int = 0
    held: int = 0
    lots: Lots = ()
    holds: dict[str, Hold] = {}
    lots_granted: int = 0
    owed: int = 0
    reversed_ids: frozenset[str] = frozenset()


def evolve(account: CreditAccount, event: CreditEvent) -> CreditAccount:
    match event:
        case CreditsConsumed(amount=amount, taken=taken) | CreditsRemoved(amount=amount, taken=taken):
            return _changed(account, -amount, 0, without(account.lots, taken))
        case CreditsGranted(lot=number, amount=amount, paid_fen=fen):
            terms = Terms(amount, fen, event.expires_at, event.priority, event.reference)
            account = _changed(account, amount, 0, _with(account.lots, (Lot(number, amount, fen, terms),)))
            return msgspec.structs.replace(account, lots_granted=number)
        case CreditsHeld(hold_id=hold_id, amount=amount, taken=taken):
            hold = Hold(_parts(account.lots, taken), event.product, event.expires_at)
            return _changed(account, -amount, amount, without(account.lots, taken), {**account.holds, hold_id: hold})
        case HoldCaptured(hold_id=hold_id, amount=amount, returned=returned):
            back = sum(part.amount for part in returned)
            lots = _with(account.lots, _parts(account.holds[hold_id].lots, returned)) if returned else account.lots
            return _changed(account, back, -amount - back, lots, _closed(account.holds, hold_id))
        case HoldReleased(hold_id=hold_id, amount=amount):
            lots = _with(account.lots, account.holds[hold_id].lots)
            return _changed(account, amount, -amount, lots, _closed(account.holds, hold_id))
        case CreditsExpired(lot=number, amount=amount, fen=fen):
            return _changed(account, -amount, 0, without(account.lots, (Slice(number, amount, fen),)))
        case SpendingReversed(amount=amount, returned=lots, reverses=reverses):
            account = _changed(account, amount, 0, _with(account.lots, lots))
            return msgspec.structs.replace(account, reversed_ids=account.reversed_ids | {reverses})
        case CreditsClawedBack(amount=amount, taken=taken, owed=owed):
            account = _changed(account, owed - amount, 0, without(account.lots, taken) if taken else account.lots)
            return msgspec.structs.replace(account, owed=account.owed + owed)
        case DebtPaid(amount=amount, taken=taken):
            account = _changed(account, -amount, 0, without(account.lots, taken))
            return msgspec.structs.replace(account, owed=account.owed - amount)
        case _:
            assert_never(event)


def split(part: Lot, amount: int, beside: Lot | None = None) -> Slice:
    """So many credits of a part of a lot with their share of its price.

    What stays, together with what lies ``beside`` it if it goes back there, keeps its share rounded down. The last of
    the credits take the last of the money with them. Where a credit costs whole fen each has exactly its price; how far
    it may be off where it does not is in docs/ledger.md.
    """
    if amount == part.amount:
        return Slice(part.number, amount, part.fen)
    terms = part.terms
    left, fen = part.amount - amount, part.fen
    if beside is not None:
        left, fen = left + beside.amount, fen + beside.fen
    return Slice(part.number, amount, min(part.fen, max(0, fen - left * terms.paid_fen // terms.amount)))


def sum_of(lots: Lots) -> int:
    return sum(lot.amount for lot in lots)


def without(lots: Lots, slices: tuple[Slice, ...]) -> Lots:
    """What is left when the slices are gone."""
    # Nearly every debit takes one slice of the lot that is first in line.
    first, part = lots[0], slices[0]
    if len(slices) == 1 and first.number == part.lot:
        if first.amount == part.amount:
            return lots[1:]
        return (_less(first, part), *lots[1:])
    gone = {part.lot: part for part in slices}
    return tuple(left for lot in lots if (left := _less(lot, gone[lot.number]) if lot.number in gone else lot).amount)


def _changed(
    account: CreditAccount, available: int, held: int, lots: Lots, holds: dict[str, Hold] | None = None
) -> CreditAccount:
    return CreditAccount(
        account.available + available,
        account.held + held,
        lots,
        account.holds if holds is None else holds,
        account.lots_granted,
        account.owed,
        account.reversed_ids,
    )


def _closed(holds: dict[str, Hold], hold_id: str) -> dict[str, Hold]:
    return {key: hold for key, hold in holds.items() if key != hold_id}


def _parts(lots: Lots, slices: tuple[Slice, ...]) -> Lots:
    """The slices as lots of their own, with the terms of the lots they are of."""
    terms = {lot.number: lot.terms for lot in lots}
    return tuple(Lot(part.lot, part.amount, part.fen, terms[part.lot]) for part in slices)


def _with(lots: Lots, more: Lots) -> Lots:
    # Every account begins like this, and a replay opens a great many.
    if not lots and len(more) == 1:
        return more
    by_number = {lot.number: lot for lot in lots}
    for lot in more:
        there = by_number.get(lot.number)
        by_number[lot.number] = lot if there is None else _joined(there, lot)
    return tuple(sorted(by_number.values(), key=_spending_order))


def _less(lot: Lot, part: Slice) -> Lot:
    return Lot(lot.number, lot.amount - part.amount, lot.fen - part.fen, lot.terms)


def _joined(lot: Lot, other: Lot) -> Lot:
    return Lot(lot.number, lot.amount + other.amount, lot.fen + other.fen, lot.terms)


def _spending_order(lot: Lot) -> tuple[int, datetime, bool, int]:
    terms = lot.terms
    return terms.priority, terms.expires_at or NEVER, terms.paid_fen > 0, lot.number
