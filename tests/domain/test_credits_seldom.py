"""What chance seldom comes by: a few histories told by hand, each checked as the machine checks."""

from datetime import datetime
from typing import Final

import pytest

from mintage.domain.credits.decider import (
    CREDITS,
    CaptureHold,
    ClawBack,
    ConsumeCredits,
    CreditCommand,
    GrantCredits,
    HoldCredits,
    ReleaseHold,
)
from mintage.domain.credits.events import CreditEvent, CreditsExpired, DebtPaid, HoldCaptured, HoldReleased
from tests.asks import HOUR
from tests.domain.test_credits_machine import START, CreditAccountMachine

LATER: Final = START + 2 * HOUR


def grant(amount: int, paid_fen: int = 0, *, expires_at: datetime | None = None) -> GrantCredits:
    return GrantCredits(
        transaction_id=f"{amount} for {paid_fen}",
        amount=amount,
        source="recharge",
        description="",
        now=START,
        paid_fen=paid_fen,
        expires_at=expires_at,
    )


def consume(amount: int, number: int = 1) -> ConsumeCredits:
    return ConsumeCredits(transaction_id=f"consumed {number}", amount=amount, description="", now=START)


def hold(amount: int, number: int = 1) -> HoldCredits:
    return HoldCredits(hold_id=f"held {number}", amount=amount, description="", product="model", now=START)


def capture(amount: int, number: int = 1, now: datetime = START) -> CaptureHold:
    return CaptureHold(
        hold_id=f"held {number}", transaction_id=f"captured {number}", amount=amount, description="", now=now
    )


def release(number: int = 1, now: datetime = START) -> ReleaseHold:
    return ReleaseHold(hold_id=f"held {number}", reason="failed", now=now)


def claw_back(amount: int) -> ClawBack:
    return ClawBack(
        transaction_id="clawed back",
        recharge_id="order",
        reference="refund",
        reason="refund",
        amount=amount,
        refunded_fen=1,
        payment_method="alipay",
        description="",
        now=START,
    )


def after(*commands: CreditCommand) -> CreditAccountMachine:
    """What these come to, one after the other; each is checked as the machine checks."""
    machine = CreditAccountMachine()
    for command in commands:
        machine.now = command.now
        machine.tell(command)
        machine.the_account_is_what_the_model_says()
        machine.every_lot_keeps_its_credits_and_its_money()
        machine.no_part_is_far_from_its_fair_price()
    return machine


def last_of(*commands: CreditCommand) -> list[CreditEvent]:
    before = len(after(*commands[:-1]).history)
    return after(*commands).history[before:]


def test_what_comes_back_late_pays_no_debt_and_what_comes_back_in_time_does() -> None:
    late = release(now=LATER)
    events = last_of(grant(10, expires_at=START + HOUR), grant(10, 100), hold(15), consume(5), claw_back(9), late)
    assert [(type(event), event.amount) for event in events] == [
        (HoldReleased, 15),
        (CreditsExpired, 10),
        (DebtPaid, 5),
    ]


def test_a_capture_that_brings_nothing_back_leaves_the_rest_of_the_account_alone() -> None:
    events = last_of(grant(10, expires_at=START + HOUR), hold(5), capture(5, now=LATER))
    assert [type(event) for event in events] == [HoldCaptured]


def test_less_than_nothing_is_never_clawed_back() -> None:
    with pytest.raises(AssertionError):
        CREDITS.decide(claw_back(-1), CREDITS.initial)


def test_nothing_can_be_had_for_less_than_nothing() -> None:
    with pytest.raises(AssertionError):
        CREDITS.decide(grant(1, -1), CREDITS.initial)
