"""What can happen to a credit account.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Amounts are whole credits above zero; money is whole fen (CNY 0.01).
"""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec

from mintage.domain.decider import Event

Source: TypeAlias = Literal["signup_bonus", "recharge", "referral_bonus", "adjustment"]
Release: TypeAlias = Literal["failed", "cancelled", "timed_out", "nothing_due"]
"""``nothing_due``: the task completed, but the share of its price that came out rounds to nothing."""


class Slice(msgspec.Struct, frozen=True, gc=False):
    """So many credits of one lot."""

    lot: int
    amount: int


class CreditsGranted(Event, frozen=True, tag="credits.granted"):
    """A lot came in. ``lot`` numbers the account's lots from 1; ``paid_fen`` is what was paid for the whole lot."""

    transaction_id: str
    lot: int
    amount: int
    source: Source
    description: str
    paid: bool = False
    paid_fen: int = 0
    payment_method: str | None = None
    expires_at: datetime | None = None


class CreditsConsumed(Event, frozen=True, tag="credits.consumed"):
    """Credits were spent at once, out of the lots named."""

    transaction_id: str
    amount: int
    description: str
    taken: tuple[Slice, ...]


class CreditsHeld(Event, frozen=True, tag="credits.held"):
    """Credits were set aside for a task, out of the lots named; they are neither available nor spent."""

    hold_id: str
    amount: int
    description: str
    taken: tuple[Slice, ...]


class HoldCaptured(Event, frozen=True, tag="credits.captured"):
    """The hold ended: ``amount`` of it was spent (``taken``), the rest went back to its lots (``returned``)."""

    hold_id: str
    transaction_id: str
    amount: int
    taken: tuple[Slice, ...]
    description: str
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


CreditEvent: TypeAlias = CreditsGranted | CreditsConsumed | CreditsHeld | HoldCaptured | HoldReleased | CreditsExpired
