"""An order is paid at most once, for the amount asked, and refunded at most that, whatever is repeated or late."""

import msgspec
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st

from mintage.domain.decider import Refusal
from mintage.domain.recharge.decider import (
    RECHARGE,
    NotPaid,
    PaymentDiffers,
    Recharge,
    RechargeCommand,
    RechargeExists,
    RechargeUnknown,
    RecordPayment,
    RecordRefund,
    RefundDiffers,
    RefundExceedsPayment,
    RequestRecharge,
)
from mintage.domain.recharge.events import RechargeEvent, RechargePaid, RechargeRefunded, RechargeRequested
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


def refund(amount_fen: int, reference: str = "back-1") -> RecordRefund:
    return RecordRefund(refund_reference=reference, amount_fen=amount_fen, reason="refund")


def refunded(amount_fen: int, taken: int, reference: str = "back-1") -> RechargeRefunded:
    return RechargeRefunded(refund_reference=reference, amount_fen=amount_fen, credits=taken, reason="refund")


class TestRefund:
    def test_a_whole_refund_takes_back_all_that_was_bought(self) -> None:
        order = given(REQUESTED, PAID).when(refund(1_000)).then(refunded(1_000, 100)).state()
        assert order.refunded_fen == 1_000

    def test_why_the_money_went_back_is_kept(self) -> None:
        command = msgspec.structs.replace(refund(1_000), reason="chargeback")
        event = msgspec.structs.replace(refunded(1_000, 100), reason="chargeback")
        given(REQUESTED, PAID).when(command).then(event)

    def test_parts_take_back_the_share_of_their_sum_rounded_down(self) -> None:
        parts = given(REQUESTED, PAID).when(refund(5, "a")).then(refunded(5, 0, "a"))
        parts = parts.when(refund(5, "b")).then(refunded(5, 1, "b"))
        parts = parts.when(refund(989, "c")).then(refunded(989, 98, "c"))
        parts.when(refund(1, "d")).then(refunded(1, 1, "d"))

    def test_the_same_refund_told_again_changes_nothing(self) -> None:
        given(REQUESTED, PAID, refunded(400, 40)).when(refund(400)).then_nothing()
        given(REQUESTED, PAID, refunded(1_000, 100)).when(refund(1_000)).then_nothing()

    def test_the_same_refund_with_another_amount_is_refused(self) -> None:
        history = given(REQUESTED, PAID, refunded(400, 40))
        history.when(refund(401)).then_refused(RefundDiffers, recorded={"amount_fen": 400})

    def test_the_same_refund_for_another_reason_is_refused(self) -> None:
        history = given(REQUESTED, PAID, refunded(400, 40))
        chargeback = msgspec.structs.replace(refund(400), reason="chargeback")
        history.when(chargeback).then_refused(RefundDiffers, recorded={"reason": "refund"})
        both = msgspec.structs.replace(chargeback, amount_fen=401)
        history.when(both).then_refused(RefundDiffers, recorded={"amount_fen": 400, "reason": "refund"})

    def test_no_more_goes_back_than_was_paid(self) -> None:
        given(REQUESTED, PAID).when(refund(1_001)).then_refused(RefundExceedsPayment, refundable_fen=1_000)
        history = given(REQUESTED, PAID, refunded(400, 40))
        history.when(refund(601, "back-2")).then_refused(RefundExceedsPayment, refundable_fen=600)
        history.when(refund(600, "back-2")).then(refunded(600, 60, "back-2"))

    def test_of_what_was_not_paid_nothing_goes_back(self) -> None:
        given(REQUESTED).when(refund(1)).then_refused(NotPaid)
        given().when(refund(1)).then_refused(RechargeUnknown)

    @pytest.mark.parametrize("amount_fen", [0, -1])
    def test_refunding_nothing_is_a_mistake_of_the_caller(self, amount_fen: int) -> None:
        given(REQUESTED, PAID).when_mistaken(refund(amount_fen))

    @settings(deadline=None)
    @hypothesis_given(
        st.integers(1, 10_000), st.integers(1, 10_000), st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4_000)))
    )
    def test_whatever_comes_back_in_parts_what_is_taken_back_is_the_share_of_the_sum(
        self, amount_fen: int, bought: int, told: list[tuple[int, int]]
    ) -> None:
        requested = msgspec.structs.replace(REQUESTED, amount_fen=amount_fen, credits=bought)
        order = RECHARGE.fold(RECHARGE.initial, (requested, RechargePaid(payment_reference="p", amount_fen=amount_fen)))
        counted: dict[int, int] = {}
        taken = 0
        for reference, part in told:
            try:
                events = RECHARGE.decide(refund(part, str(reference)), order)
            except Refusal:
                assert counted.get(reference, part) != part or sum(counted.values()) + part > amount_fen
                continue
            assert len(events) == (reference not in counted)
            counted[reference] = part
            for event in events:
                assert isinstance(event, RechargeRefunded)
                assert event.credits >= 0
                taken += event.credits
            order = RECHARGE.fold(order, events)
            assert taken == bought * sum(counted.values()) // amount_fen
        assert order.refunded_fen == sum(counted.values()) <= amount_fen


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
