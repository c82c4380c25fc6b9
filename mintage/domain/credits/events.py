"""What can happen to a credit account.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Amounts are whole credits above zero; money is whole fen (CNY 0.01).
"""

from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from mintage.domain.decider import Event

Source: TypeAlias = Literal["signup_bonus", "recharge", "referral_bonus", "adjustment"]
Release: TypeAlias = Literal["failed", "cancelled", "timed_out", "expired", "nothing_due"]
"""``expired``: the hold outlived its time; ``nothing_due``: the share that came out rounds to nothing."""
PaymentUndone: TypeAlias = Literal["refund", "chargeback"]
PRIORITY: Final = 50
"""That of a lot of which nothing else is said; 0 is spent first, 100 last."""


class Slice(msgspec.Struct, frozen=True, gc=False):
    """So many credits of one lot, and the ``fen`` of its price that lie in them."""

    lot: int
    amount: int
    fen: int = 0


class Terms(msgspec.Struct, frozen=True, gc=False):
    """What was agreed when a lot came in: its size, what was paid for it, when it expires, when it is spent.

    ``reference`` is the order or the adjustment that it came by.
    """

    amount: int
    paid_fen: int = 0
    expires_at: datetime | None = None
    priority: int = PRIORITY
    reference: str | None = None


class Lot(msgspec.Struct, frozen=True, gc=False):
    """What is left of a grant, or a part of it: ``fen`` of what was paid lie in it."""

    number: int
    amount: int
    fen: int
    terms: Terms


class CreditsGranted(Event, frozen=True, tag="credits.granted"):
    """A lot came in. ``lot`` numbers the account's lots from 1; promotional unless ``paid_fen`` were paid for it."""

    transaction_id: str
    lot: int
    amount: int
    source: Source
    description: str
    paid_fen: int = 0
    payment_method: str | None = None
    expires_at: datetime | None = None
    priority: int = PRIORITY
    reference: str | None = None


class CreditsConsumed(Event, frozen=True, tag="credits.consumed"):
    """Credits were spent at once, out of the lots named."""

    transaction_id: str
    amount: int
    description: str
    taken: tuple[Slice, ...]


class CreditsHeld(Event, frozen=True, tag="credits.held"):
    """Credits were set aside for ``product``, out of the lots named; they are neither available nor spent.

    At ``expires_at`` the hold is to end by itself.
    """

    hold_id: str
    amount: int
    description: str
    taken: tuple[Slice, ...]
    product: str
    expires_at: datetime | None = None


class HoldCaptured(Event, frozen=True, tag="credits.captured"):
    """The hold ended: ``amount`` of it was spent (``taken``), the rest went back to its lots (``returned``)."""

    hold_id: str
    transaction_id: str
    amount: int
    taken: tuple[Slice, ...]
    description: str
    product: str
    returned: tuple[Slice, ...] = ()


class HoldReleased(Event, frozen=True, tag="credits.released"):
    """The hold ended with nothing spent: all of it went back to the lots it came from."""

    hold_id: str
    amount: int
    returned: tuple[Slice, ...]
    reason: Release


class CreditsExpired(Event, frozen=True, tag="credits.expired"):
    """What was left of a lot passed its date and is gone."""

    lot: int
    amount: int
    fen: int = 0


class SpendingReversed(Event, frozen=True, tag="credits.reversed"):
    """What the transaction ``reverses`` had spent came back to the very lots, with the terms they had."""

    transaction_id: str
    reverses: str
    amount: int
    description: str
    returned: tuple[Lot, ...]
    product: str | None = None


class CreditsRemoved(Event, frozen=True, tag="credits.removed"):
    """Finance took credits away; ``reference`` is the adjustment."""

    transaction_id: str
    amount: int
    description: str
    taken: tuple[Slice, ...]
    reference: str


class CreditsClawedBack(Event, frozen=True, tag="credits.clawed_back"):
    """The payment of an order was undone: what was there of ``amount`` is ``taken``, the rest is ``owed``.

    ``amount`` is what these ``refunded_fen`` of the order's price had bought; ``reference`` is the gateway's own.
    """

    transaction_id: str
    recharge_id: str
    reference: str
    reason: PaymentUndone
    amount: int
    refunded_fen: int
    payment_method: str
    description: str
    taken: tuple[Slice, ...]
    owed: int


class DebtPaid(Event, frozen=True, tag="credits.debt_paid"):
    """Credits that came in paid what was owed before anything else."""

    amount: int
    taken: tuple[Slice, ...]


CreditEvent: TypeAlias = (
    CreditsGranted
    | CreditsConsumed
    | CreditsHeld
    | HoldCaptured
    | HoldReleased
    | CreditsExpired
    | SpendingReversed
    | CreditsRemoved
    | CreditsClawedBack
    | DebtPaid
)
