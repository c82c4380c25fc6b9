"""What two streams say of one thing, in one command: each side's claims add up to the same, or a half is missing.

Only a sum of hashes is kept, so that memory stays flat; where two sums differ, the claims are looked through again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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
from mintage.domain.decider import Event
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

    def digest(self, salt: str, command_id: str) -> bytes:
        """Of what both sides say alike; salted, or somebody could look for claims that come to the same sum."""
        return sha256(_encode((salt, self.what, command_id, *self.terms))).digest()


def unequal(tallies: Iterable[Mapping[str, str]]) -> list[str]:
    """What is not claimed alike by both sides; each tally has the sums, modulo 2^256, in hexadecimal."""
    sums: Counter[str] = Counter()
    for tally in tallies:
        for what, part in tally.items():
            sums[what] += int(part, 16)
    return [what for what, whole in sums.items() if whole % MODULUS]


_encode: Final = msgspec.json.Encoder().encode


def claim_of(entry: Recorded, state: Any) -> Claim | None:
    """What an event says of another stream; ``state`` is its own stream's after it."""
    half = _HALVES.get(type(entry.event))
    if half is None:
        return None
    try:
        return half(entry.event, entry.key, state)
    except AttributeError:
        # In a stream of another kind, as is said of it already.
        return None


def _granted(event: CreditsGranted, user: str, _: Any) -> Claim | None:
    reference, amount = event.reference, event.amount
    if event.source == "recharge":
        terms = (reference, user, amount, event.paid_fen, event.payment_method)
        return Claim("paid order", 1, f"recharge-{reference}", terms)
    if event.source == "adjustment":
        added = (reference, user, amount, event.priority, event.expires_at)
        return Claim("adjustment", 1, f"adjustment-{reference}", added)
    return None


def _clawed_back(event: CreditsClawedBack, user: str, _: Any) -> Claim:
    undone = (event.reason, event.reference, event.payment_method)
    terms = (event.recharge_id, user, event.amount, event.refunded_fen, *undone)
    return Claim("refund", 1, f"recharge-{event.recharge_id}", terms)


def _requested(event: GenerationRequested, task: str, _: Any) -> Claim:
    product = f"{event.model_provider}/{event.model_name}"
    return Claim("hold", -1, CREDITS.stream(event.user_id), (task, event.user_id, event.price, product))


def _ended(_: Any, task: str, state: Any) -> Claim:
    return Claim("released hold", -1, CREDITS.stream(state.user_id), (task,))


def _completed(event: GenerationCompleted, task: str, state: Any) -> Claim:
    if not event.charged:
        return _ended(event, task, state)
    return Claim("captured hold", -1, CREDITS.stream(state.user_id), (task, event.charged))


def _paid(event: RechargePaid, order: str, state: Any) -> Claim:
    terms = (order, state.user_id, state.credits, event.amount_fen, state.payment_method)
    return Claim("paid order", -1, CREDITS.stream(state.user_id), terms)


def _refunded(event: RechargeRefunded, order: str, state: Any) -> Claim:
    undone = (event.reason, event.refund_reference, state.payment_method)
    terms = (order, state.user_id, event.credits, event.amount_fen, *undone)
    return Claim("refund", -1, CREDITS.stream(state.user_id), terms)


def _adjusted(event: AdjustmentRequested | AdjustmentApproved, adjustment: str, state: Any) -> Claim | None:
    if isinstance(event, AdjustmentRequested) and event.needs_approval:
        return None
    asked: tuple[Any, ...] = (adjustment, state.user_id, state.amount)
    if state.amount > 0:
        asked = (*asked, state.priority, state.expires_at)
    return Claim("adjustment", -1, CREDITS.stream(state.user_id), asked)


_HALVES: Final[dict[type[Event], Callable[[Any, str, Any], Claim | None]]] = {
    CreditsHeld: lambda event, user, _: Claim(
        "hold", 1, f"generation-{event.hold_id}", (event.hold_id, user, event.amount, event.product)
    ),
    GenerationRequested: _requested,
    HoldCaptured: lambda event, *_: Claim(
        "captured hold", 1, f"generation-{event.hold_id}", (event.hold_id, event.amount)
    ),
    HoldReleased: lambda event, *_: Claim("released hold", 1, f"generation-{event.hold_id}", (event.hold_id,)),
    GenerationCompleted: _completed,
    GenerationFailed: _ended,
    GenerationCancelled: _ended,
    CreditsGranted: _granted,
    RechargePaid: _paid,
    CreditsClawedBack: _clawed_back,
    RechargeRefunded: _refunded,
    CreditsRemoved: lambda event, user, _: Claim(
        "adjustment", 1, f"adjustment-{event.reference}", (event.reference, user, -event.amount)
    ),
    AdjustmentRequested: _adjusted,
    AdjustmentApproved: _adjusted,
}
CLAIMING: Final = frozenset(_HALVES)
"""The events of which another stream has a half."""
