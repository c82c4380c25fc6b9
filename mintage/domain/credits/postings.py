"""Every credit event as a balanced posting: what leaves one account enters another, and the sum is zero."""

from typing import assert_never

import msgspec

from mintage.domain.credits.events import (
    CreditEvent,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    HoldCaptured,
    HoldReleased,
)


class Posting(msgspec.Struct, frozen=True, gc=False):
    """``available`` and ``held`` are the person's; ``issued``, ``spent`` and ``expired`` are the house's.

    ``issued`` is minus what was ever given out, so that all five sum to zero at any time.
    """

    available: int = 0
    held: int = 0
    issued: int = 0
    spent: int = 0
    expired: int = 0


def posting_of(event: CreditEvent) -> Posting:
    match event:
        case CreditsConsumed(amount=amount):
            return Posting(-amount, 0, 0, amount)
        case CreditsHeld(amount=amount):
            return Posting(-amount, amount)
        case HoldCaptured(amount=amount, returned=returned):
            back = sum(part.amount for part in returned)
            return Posting(back, -amount - back, 0, amount)
        case HoldReleased(amount=amount):
            return Posting(amount, -amount)
        case CreditsGranted(amount=amount):
            return Posting(amount, 0, -amount)
        case CreditsExpired(amount=amount):
            return Posting(-amount, 0, 0, 0, amount)
        case _:
            assert_never(event)
