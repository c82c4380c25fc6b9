"""An order is paid at most once, for the amount asked, and refunded at most that, whatever is repeated or late."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.recharge.events import RechargeEvent, RechargePaid, RechargeRefunded, RechargeRequested, Undone


class RequestRecharge(Command, frozen=True):
    user_id: str
    amount_fen: int
    credits: int
    payment_method: str


class RecordPayment(Command, frozen=True):
    """The gateway says, verified, that this was paid."""

    payment_reference: str
    amount_fen: int


class RecordRefund(Command, frozen=True):
    """The gateway says, verified, that so much of the payment went back."""

    refund_reference: str
    amount_fen: int
    reason: Undone


RechargeCommand: TypeAlias = RequestRecharge | RecordPayment | RecordRefund


class RechargeUnknown(Refusal):
    """There is no such order."""


class RechargeExists(Refusal):
    """The order's id was used already."""


class PaymentDiffers(Refusal):
    """What was paid is not what was asked, or a second payment came for a paid order."""

    def __init__(self, *, asked_fen: int, paid_fen: int) -> None:
        super().__init__(f"{asked_fen} fen asked, {paid_fen} fen paid")
        self.asked_fen = asked_fen
        self.paid_fen = paid_fen


class PaymentUsed(Refusal):
    """The payment has paid another order already."""


class NotPaid(Refusal):
    """Of an order that was never paid nothing can go back."""


class RefundDiffers(Refusal):
    """The refund was recorded before with another amount or for another reason: ``recorded`` has what differs."""

    def __init__(self, *, recorded: dict[str, int | str]) -> None:
        super().__init__(", ".join(f"{name} {value} recorded" for name, value in recorded.items()))
        self.recorded = recorded


class RefundExceedsPayment(Refusal):
    """With this refund more would have gone back than was paid."""

    def __init__(self, *, refundable_fen: int) -> None:
        super().__init__(f"{refundable_fen} fen are left to go back")
        self.refundable_fen = refundable_fen


class RefundUsed(Refusal):
    """The refund was recorded for another order already."""


class Refund(msgspec.Struct, frozen=True):
    amount_fen: int
    credits: int
    reason: Undone

    def differing(self, told: RecordRefund) -> dict[str, int | str]:
        """What was recorded otherwise than it is told now, by the field's name."""
        return {
            name: recorded
            for name in ("amount_fen", "reason")
            if (recorded := getattr(self, name)) != getattr(told, name)
        }


class Recharge(msgspec.Struct, frozen=True):
    """``refunds`` are by the gateway's reference."""

    user_id: str = ""
    amount_fen: int = 0
    credits: int = 0
    payment_method: str = ""
    payment_reference: str | None = None
    refunds: dict[str, Refund] = {}

    @property
    def refunded_fen(self) -> int:
        return sum(refund.amount_fen for refund in self.refunds.values())


def decide(command: RechargeCommand, order: Recharge) -> tuple[RechargeEvent, ...]:
    match command:
        case RequestRecharge():
            if order.user_id:
                raise RechargeExists
            assert command.amount_fen > 0
            assert command.credits > 0
            return (
                RechargeRequested(
                    user_id=command.user_id,
                    amount_fen=command.amount_fen,
                    credits=command.credits,
                    payment_method=command.payment_method,
                ),
            )
        case RecordPayment(payment_reference=reference, amount_fen=paid_fen):
            if not order.user_id:
                raise RechargeUnknown
            if paid_fen != order.amount_fen or order.payment_reference not in {None, reference}:
                raise PaymentDiffers(asked_fen=order.amount_fen, paid_fen=paid_fen)
            if order.payment_reference == reference:
                return ()
            return (RechargePaid(payment_reference=reference, amount_fen=paid_fen),)
        case RecordRefund():
            return _refund(command, order)
        case _:
            assert_never(command)


def _refund(command: RecordRefund, order: Recharge) -> tuple[RechargeEvent, ...]:
    if not order.user_id:
        raise RechargeUnknown
    if order.payment_reference is None:
        raise NotPaid
    assert command.amount_fen > 0
    before = order.refunds.get(command.refund_reference)
    if before is not None:
        if differing := before.differing(command):
            raise RefundDiffers(recorded=differing)
        return ()
    refundable_fen = order.amount_fen - order.refunded_fen
    if command.amount_fen > refundable_fen:
        raise RefundExceedsPayment(refundable_fen=refundable_fen)
    # By the sum of all refunds, so that in parts no more and no less is taken back than at once.
    due = order.credits * (order.refunded_fen + command.amount_fen) // order.amount_fen
    taken = sum(refund.credits for refund in order.refunds.values())
    return (
        RechargeRefunded(
            refund_reference=command.refund_reference,
            amount_fen=command.amount_fen,
            credits=due - taken,
            reason=command.reason,
        ),
    )


def evolve(order: Recharge, event: RechargeEvent) -> Recharge:
    match event:
        case RechargeRequested():
            return Recharge(
                user_id=event.user_id,
                amount_fen=event.amount_fen,
                credits=event.credits,
                payment_method=event.payment_method,
            )
        case RechargePaid(payment_reference=reference):
            return replace(order, payment_reference=reference)
        case RechargeRefunded(refund_reference=reference):
            refund = Refund(event.amount_fen, event.credits, event.reason)
            return replace(order, refunds={**order.refunds, reference: refund})
        case _:
            assert_never(event)


RECHARGE: Decider[Recharge, RechargeCommand, RechargeEvent] = Decider("recharge", Recharge(), decide, evolve)
