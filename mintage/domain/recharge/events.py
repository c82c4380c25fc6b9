"""What can happen to an order for credits.

Stored for ever: a tag is never renamed, its meaning never changes, fields are only added and with defaults;
anything else is a new tag and an upcaster. Money is whole fen (CNY 0.01).
"""

from typing import Literal, TypeAlias

from mintage.domain.decider import Event

Undone: TypeAlias = Literal["refund", "chargeback"]


class RechargeRequested(Event, frozen=True, tag="recharge.requested"):
    """Somebody asked to buy ``credits`` for ``amount_fen`` through the gateway ``payment_method``."""

    user_id: str
    amount_fen: int
    credits: int
    payment_method: str


class RechargePaid(Event, frozen=True, tag="recharge.paid"):
    """The gateway has the money; ``payment_reference`` is its own id of the payment."""

    payment_reference: str
    amount_fen: int


class RechargeRefunded(Event, frozen=True, tag="recharge.refunded"):
    """``amount_fen`` of the payment went back, and with it ``credits`` of what was bought are to be taken back.

    ``refund_reference`` is the gateway's own id of it. We refunded it, or the payer's bank took it (``chargeback``).
    """

    refund_reference: str
    amount_fen: int
    credits: int
    reason: Undone


RechargeEvent: TypeAlias = RechargeRequested | RechargePaid | RechargeRefunded
