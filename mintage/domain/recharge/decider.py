"""An order is paid at most once, for the amount asked, whatever is repeated or late."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from mintage.domain.decider import Command, Decider, Refusal
from mintage.domain.recharge.events import RechargeEvent, RechargePaid, RechargeRequested


class RequestRecharge(Command, frozen=True):
    user_id: str
    amount_fen: int
    credits: int
    payment_method: str


class RecordPayment(Command, frozen=True):
    """The gateway says, verified, that this was paid."""

    payment_reference: str
    amount_fen: int


RechargeCommand: TypeAlias = RequestRecharge | RecordPayment


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


class Recharge(msgspec.Struct, frozen=True):
    user_id: str = ""
    amount_fen: int = 0
    credits: int = 0
    payment_method: str = ""
    payment_reference: str | None = None


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
        case _:
            assert_never(command)


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
        case _:
            assert_never(event)


RECHARGE: Decider[Recharge, RechargeCommand, RechargeEvent] = Decider("recharge", Recharge(), decide, evolve)
