"""An order is paid at most once, for the amount asked, whatever is repeated or late."""

import msgspec
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from mintage.domain.decider import Refusal
from mintage.domain.recharge.decider import (
    RECHARGE,
    PaymentDiffers,
    Recharge,
    RechargeCommand,
    RechargeExists,
    RechargeUnknown,
    RecordPayment,
    RequestRecharge,
)
from mintage.domain.recharge.events import RechargeEvent, RechargePaid, RechargeRequested
from tests.scenario import Given


def given(*history: RechargeEvent) -> Given[Recharge, RechargeCommand, RechargeEvent]:
    return Given(RECHARGE, *history)


def pay(reference: str = "pay-1", amount_fen: int = 1_000) -> RecordPayment:
    return RecordPayment(payment_reference=reference, amount_fen=amount_fen)


REQUEST = RequestRecharge(user_id="ann", amount_fen=1_000, credits=100, payment_method="alipay")
REQUESTED = RechargeRequested(user_id="ann", amount_fen=1_000, credits=100, payment_method="alipay")
PAID = RechargePaid(payment_reference="pay-1", amount_fen=1_000)


def test_an_order_remembers_what_was_asked_for() -> None:
    assert given().when(REQUEST).then(REQUESTED).state() == Recharge(
        user_id="ann", amount_fen=1_000, credits=100, payment_method="alipay"
    )


def test_an_id_orders_once() -> None:
    given(REQUESTED).when(REQUEST).then_refused(RechargeExists)
    given(REQUESTED, PAID).when(REQUEST).then_refused(RechargeExists)


@pytest.mark.parametrize(
    "command",
    [msgspec.structs.replace(REQUEST, amount_fen=0), msgspec.structs.replace(REQUEST, credits=0)],
    ids=["for no money", "of no credits"],
)
def test_ordering_nothing_is_a_mistake_of_the_caller(command: RequestRecharge) -> None:
    given().when_mistaken(command)


def test_an_order_is_paid() -> None:
    assert given(REQUESTED).when(pay()).then(PAID).state().payment_reference == "pay-1"


def test_the_same_payment_told_again_changes_nothing() -> None:
    given(REQUESTED, PAID).when(pay()).then_nothing()


def test_a_second_payment_is_refused() -> None:
    given(REQUESTED, PAID).when(pay("pay-2")).then_refused(PaymentDiffers, asked_fen=1_000, paid_fen=1_000)


@pytest.mark.parametrize("amount_fen", [999, 1_001, 0, -1_000])
def test_another_amount_than_asked_is_refused(amount_fen: int) -> None:
    given(REQUESTED).when(pay(amount_fen=amount_fen)).then_refused(PaymentDiffers, asked_fen=1_000, paid_fen=amount_fen)


def test_an_order_that_never_was_cannot_be_paid() -> None:
    given().when(pay()).then_refused(RechargeUnknown)


def test_a_refused_payment_does_not_spoil_the_right_one() -> None:
    given(REQUESTED).when(pay("pay-0", 5)).then_refused(PaymentDiffers)
    given(REQUESTED).when(pay("pay-1", 1_000)).then(PAID)


commands: st.SearchStrategy[RechargeCommand] = st.just(REQUEST) | st.builds(
    RecordPayment,
    payment_reference=st.sampled_from(["pay-1", "pay-2", "pay-3"]),
    amount_fen=st.sampled_from([1, 1_000]),
)


@settings(deadline=None)
@hypothesis_given(st.lists(commands, max_size=12))
def test_whatever_comes_in_whatever_order_an_order_is_paid_at_most_once_and_as_asked(
    given_commands: list[RechargeCommand],
) -> None:
    history: list[RechargeEvent] = []
    order = RECHARGE.initial
    for command in given_commands:
        try:
            events = RECHARGE.decide(command, order)
        except Refusal:
            continue
        order = RECHARGE.fold(order, events)
        history += events
    paid = [event for event in history if isinstance(event, RechargePaid)]
    assert len(paid) <= 1
    assert all(event.amount_fen == REQUEST.amount_fen for event in paid)
    asked = REQUEST in given_commands
    honest = (
        any(
            isinstance(command, RecordPayment) and command.amount_fen == REQUEST.amount_fen
            for command in given_commands[given_commands.index(REQUEST) :]
        )
        if asked
        else False
    )
    assert len(paid) == honest, "the first right payment after the order counts"
