"""Every credit event as a balanced posting: what leaves one account enters another, in credits and in fen."""

from typing import assert_never

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
    Slice,
    SpendingReversed,
)


class Posting(msgspec.Struct, frozen=True, gc=False):
    """What one event adds to each account; the first seven (credits) sum to zero, and so do the last four (fen).

    ``available``, ``held`` and ``owed`` are the person's: what can be spent, what is set aside, and minus what is
    owed. The house's are ``paid`` (minus what was sold; in fen the liability for what was paid and not spent yet),
    ``promotional`` (minus what was given away), ``revenue`` (what was spent; in fen minus what was earned by it),
    ``breakage`` (what was lost unspent: expired, or removed by finance), ``receivable_fen`` (what the gateway
    ``payment_method`` has of ours).
    """

    available: int = 0
    held: int = 0
    owed: int = 0
    paid: int = 0
    promotional: int = 0
    revenue: int = 0
    breakage: int = 0
    receivable_fen: int = 0
    paid_fen: int = 0
    revenue_fen: int = 0
    breakage_fen: int = 0

    @property
    def credits(self) -> int:
        """The sum of all accounts in credits: zero in every posting."""
        return self.available + self.held + self.owed + self.paid + self.promotional + self.revenue + self.breakage

    @property
    def fen(self) -> int:
        """The sum of all accounts in fen: zero in every posting."""
        return self.receivable_fen + self.paid_fen + self.revenue_fen + self.breakage_fen


def posting_of(event: CreditEvent) -> Posting:
    match event:
        case CreditsConsumed(amount=amount, taken=taken):
            fen = fen_of(taken)
            return Posting(-amount, 0, 0, 0, 0, amount, 0, 0, fen, -fen)
        case CreditsGranted(amount=amount, paid_fen=fen):
            if fen:
                return Posting(available=amount, paid=-amount, receivable_fen=fen, paid_fen=-fen)
            return Posting(available=amount, promotional=-amount)
        case CreditsHeld(amount=amount):
            return Posting(-amount, amount)
        case HoldCaptured(amount=amount, taken=taken, returned=returned):
            back = sum(part.amount for part in returned)
            fen = fen_of(taken)
            return Posting(back, -amount - back, 0, 0, 0, amount, 0, 0, fen, -fen)
        case HoldReleased(amount=amount):
            return Posting(amount, -amount)
        case CreditsExpired(amount=amount, fen=fen):
            return Posting(available=-amount, breakage=amount, paid_fen=fen, breakage_fen=-fen)
        case SpendingReversed(amount=amount, returned=lots):
            fen = sum(lot.fen for lot in lots)
            return Posting(available=amount, revenue=-amount, paid_fen=-fen, revenue_fen=fen)
        case CreditsRemoved(amount=amount, taken=taken):
            fen = fen_of(taken)
            return Posting(available=-amount, breakage=amount, paid_fen=fen, breakage_fen=-fen)
        case CreditsClawedBack(amount=amount, owed=owed, refunded_fen=refunded, taken=taken):
            # The money went back. What had been spent of it was revenue and is not any more.
            fen = fen_of(taken)
            return Posting(
                available=owed - amount,
                owed=-owed,
                paid=amount,
                receivable_fen=-refunded,
                paid_fen=fen,
                revenue_fen=refunded - fen,
            )
        case DebtPaid(amount=amount, taken=taken):
            fen = fen_of(taken)
            return Posting(available=-amount, owed=amount, paid_fen=fen, revenue_fen=-fen)
        case _:
            assert_never(event)


def fen_of(taken: tuple[Slice, ...]) -> int:
    """What was paid for what was taken."""
    if len(taken) == 1:
        return taken[0].fen
    return sum(part.fen for part in taken)
