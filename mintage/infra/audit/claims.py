"""What two streams say of one thing, in one command: each side's claims add up to the same, or a half is missing.

Only a sum of hashes is kept, so that memory stays flat; where two sums differ, the claims are looked through again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from mintage.domain.adjustment.events import AdjustmentApproved, AdjustmentRequested
from mintage.domain.credits.decider import CREDITS
from mintage.domain.credits.events import (
    CreditsClawedBack,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    HoldCaptured,
    HoldReleased,
)
from mintage.domain.generation.events import (
    GenerationCancelled,
    GenerationCompleted,
    GenerationFailed,
    GenerationRequested,
)
from mintage.domain.recharge.events import RechargePaid, RechargeRefunded
from mintage.domain.recorded import Recorded

MODULUS: Final = 1 << 256


class Claim(msgspec.Struct, frozen=True, gc=False):
    """``terms`` are what both sides say alike; ``side`` is 1 for the account's, -1 for the other one's.

    ``other`` is the stream that has the other half.
    """

    what: str
    side: int
    other: str
    terms: tuple[Any, ...]

    def digest(self, command_id: str) -> bytes:
        """Of what both sides say alike."""
        return sha256(_encode((self.what, command_id, *self.terms))).digest()


def unequal(tallies: Iterable[Mapping[str, str]]) -> list[str]:
    """What is not claimed alike by both sides; each tally has the sums, modulo 2^256, in hexadecimal."""
    sums: Counter[str] = Counter()
    for tally in tallies:
        for what, part in tally.items():
            sums[what] += int(part, 16)
    return [what for what, whole in sums.items() if whole % MODULUS]


_encode: Final = msgspec.json.Encoder().encode

CLAIMING: Final = frozenset(
    {
        CreditsHeld,
        HoldCaptured,
        HoldReleased,
        CreditsGranted,
        CreditsRemoved,
        CreditsClawedBack,
        GenerationRequested,
        GenerationCompleted,
        GenerationFailed,
        GenerationCancelled,
        RechargePaid,
        RechargeRefunded,
        AdjustmentRequested,
        AdjustmentApproved,
    }
)


def claim_of(entry: Recorded, state: Any) -> Claim | None:
    """What an event says of another stream; ``state`` is its own stream's after it."""
    event, key = entry.event, entry.key
    match event:
        case CreditsHeld(hold_id=task, amount=amount):
            return Claim("hold", 1, f"generation-{task}", (task, key, amount))
        case GenerationRequested(user_id=user, price=price):
            return Claim("hold", -1, CREDITS.stream(user), (key, user, price))
        case HoldCaptured(hold_id=task, amount=amount):
            return Claim("captured hold", 1, f"generation-{task}", (task, amount))
        case GenerationCompleted(charged=charged) if charged:
            return Claim("captured hold", -1, CREDITS.stream(state.user_id), (key, charged))
        case HoldReleased(hold_id=task):
            return Claim("released hold", 1, f"generation-{task}", (task,))
        case GenerationCompleted() | GenerationFailed() | GenerationCancelled():
            return Claim("released hold", -1, CREDITS.stream(state.user_id), (key,))
    return _of_money(entry, state)


def _of_money(entry: Recorded, state: Any) -> Claim | None:
    event, key = entry.event, entry.key
    user = getattr(state, "user_id", "")
    match event:
        case CreditsGranted(source="recharge", reference=order, amount=amount):
            terms = (order, key, amount, event.paid_fen, event.payment_method)
            return Claim("paid order", 1, f"recharge-{order}", terms)
        case RechargePaid(amount_fen=fen):
            return Claim("paid order", -1, CREDITS.stream(user), (key, user, state.credits, fen, state.payment_method))
        case CreditsClawedBack(recharge_id=order, amount=amount, refunded_fen=fen):
            undone = (event.reason, event.reference, event.payment_method)
            return Claim("refund", 1, f"recharge-{order}", (order, key, amount, fen, *undone))
        case RechargeRefunded(credits=amount, amount_fen=fen):
            undone = (event.reason, event.refund_reference, state.payment_method)
            return Claim("refund", -1, CREDITS.stream(user), (key, user, amount, fen, *undone))
        case CreditsGranted(source="adjustment", reference=adjustment, amount=amount):
            added = (adjustment, key, amount, event.priority, event.expires_at)
            return Claim("adjustment", 1, f"adjustment-{adjustment}", added)
        case CreditsRemoved(reference=adjustment, amount=amount):
            return Claim("adjustment", 1, f"adjustment-{adjustment}", (adjustment, key, -amount))
        case AdjustmentRequested(needs_approval=False) | AdjustmentApproved():
            asked: tuple[Any, ...] = (key, user, state.amount)
            if state.amount > 0:
                asked = (*asked, state.priority, state.expires_at)
            return Claim("adjustment", -1, CREDITS.stream(user), asked)
    return None
