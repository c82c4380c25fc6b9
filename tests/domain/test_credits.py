"""The credit account, rule by rule: lots, holds, refusals, expiry."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mintage.domain.credits.account import CreditAccount, Hold
from mintage.domain.credits.decider import (
    CREDITS,
    AlreadyReversed,
    CaptureExceedsHold,
    CaptureHold,
    ClawBack,
    ConsumeCredits,
    CreditCommand,
    ExpireCredits,
    GrantCredits,
    HoldCredits,
    HoldExists,
    HoldNotOpen,
    InsufficientCredits,
    ReleaseHold,
    RemoveCredits,
    ReverseSpending,
)
from mintage.domain.credits.events import (
    PRIORITY,
    CreditEvent,
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    HoldReleased,
    Lot,
    Release,
    Slice,
    SpendingReversed,
    Terms,
)
from tests.scenario import Given

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
SOON, LATER = NOW + 10 * DAY, NOW + 20 * DAY

FEN = 10
"""What a paid credit costs here."""
MODEL = "stability/stable-diffusion-xl"

Part = tuple[int, int] | tuple[int, int, int]
"""A lot's number, how many credits of it, and the fen in them."""


def given(*history: CreditEvent) -> Given[CreditAccount, CreditCommand, CreditEvent]:
    return Given(CREDITS, *history)


def slices(parts: tuple[Part, ...]) -> tuple[Slice, ...]:
    return tuple(Slice(*part) for part in parts)


def total(parts: tuple[Part, ...]) -> int:
    return sum(part[1] for part in parts)


def lot(
    number: int, amount: int, of: int | None = None, *, paid: bool = False, expires_at: datetime | None = None
) -> Lot:
    """So many credits of a lot that came with ``of``."""
    whole = amount if of is None else of
    fen = FEN if paid else 0
    terms = Terms(whole, whole * fen, expires_at, PRIORITY, f"order-{number}" if paid else None)
    return Lot(number, amount, amount * fen, terms)


def aside(*lots: Lot) -> Hold:
    return Hold(lots, MODEL)


# -- what happened


def granted(
    number: int,
    amount: int,
    *,
    paid: bool = False,
    expires_at: datetime | None = None,
    priority: int = PRIORITY,
) -> CreditsGranted:
    return CreditsGranted(
        transaction_id=f"grant-{number}",
        lot=number,
        amount=amount,
        source="recharge" if paid else "signup_bonus",
        description="in",
        paid_fen=amount * FEN if paid else 0,
        payment_method="alipay" if paid else None,
        expires_at=expires_at,
        priority=priority,
        reference=f"order-{number}" if paid else None,
    )


def consumed(*taken: Part, transaction_id: str = "spend") -> CreditsConsumed:
    return CreditsConsumed(transaction_id=transaction_id, amount=total(taken), description="out", taken=slices(taken))


def held(hold_id: str, *taken: Part) -> CreditsHeld:
    return CreditsHeld(hold_id=hold_id, amount=total(taken), description="aside", taken=slices(taken), product=MODEL)


def captured(hold_id: str, *taken: Part, returned: tuple[Part, ...] = ()) -> HoldCaptured:
    return HoldCaptured(
        hold_id=hold_id,
        transaction_id="capture",
        amount=total(taken),
        taken=slices(taken),
        description="made",
        product=MODEL,
        returned=slices(returned),
    )


def released(hold_id: str, *returned: Part, reason: Release = "failed") -> HoldReleased:
    return HoldReleased(hold_id=hold_id, amount=total(returned), returned=slices(returned), reason=reason)


def expired(number: int, amount: int, fen: int = 0) -> CreditsExpired:
    return CreditsExpired(lot=number, amount=amount, fen=fen)


def removed(*taken: Part) -> CreditsRemoved:
    return CreditsRemoved(
        transaction_id="remove", amount=total(taken), description="wrong", taken=slices(taken), reference="adjustment"
    )


def clawed_back(number: int, *taken: Part, owed: int = 0, fen: int | None = None) -> CreditsClawedBack:
    amount = total(taken) + owed
    return CreditsClawedBack(
        transaction_id="claw",
        recharge_id=f"order-{number}",
        reference="refund",
        reason="chargeback",
        amount=amount,
        refunded_fen=amount * FEN if fen is None else fen,
        payment_method="alipay",
        description="back",
        taken=slices(taken),
        owed=owed,
    )


def debt_paid(*taken: Part) -> DebtPaid:
    return DebtPaid(amount=total(taken), taken=slices(taken))


# -- what is asked for


def grant(
    number: int,
    amount: int,
    *,
    paid: bool = False,
    expires_at: datetime | None = None,
    priority: int = PRIORITY,
    now: datetime = NOW,
) -> GrantCredits:
    """The command that must lead to ``granted`` with the same arguments."""
    return GrantCredits(
        transaction_id=f"grant-{number}",
        amount=amount,
        source="recharge" if paid else "signup_bonus",
        description="in",
        now=now,
        paid_fen=amount * FEN if paid else 0,
        payment_method="alipay" if paid else None,
        expires_at=expires_at,
        priority=priority,
        reference=f"order-{number}" if paid else None,
    )


def consume(amount: int, now: datetime = NOW) -> ConsumeCredits:
    return ConsumeCredits(transaction_id="spend", amount=amount, description="out", now=now)


def hold(hold_id: str, amount: int, now: datetime = NOW) -> HoldCredits:
    return HoldCredits(hold_id=hold_id, amount=amount, description="aside", product=MODEL, now=now)


def capture(hold_id: str, amount: int, now: datetime = NOW) -> CaptureHold:
    return CaptureHold(hold_id=hold_id, transaction_id="capture", amount=amount, description="made", now=now)


def release(hold_id: str, reason: Release = "failed", now: datetime = NOW) -> ReleaseHold:
    return ReleaseHold(hold_id=hold_id, reason=reason, now=now)


def reverse(spent: CreditsConsumed | HoldCaptured, *lots: Lot, now: datetime = NOW) -> ReverseSpending:
    """``lots`` are those it took from."""
    terms = {part.number: part.terms for part in lots}
    return ReverseSpending(transaction_id="reverse", spent=spent, terms=terms, description="sorry", now=now)


def remove(amount: int, now: datetime = NOW) -> RemoveCredits:
    return RemoveCredits(transaction_id="remove", amount=amount, description="wrong", reference="adjustment", now=now)


def claw_back(number: int, amount: int, *, fen: int | None = None, now: datetime = NOW) -> ClawBack:
    return ClawBack(
        transaction_id="claw",
        recharge_id=f"order-{number}",
        reference="refund",
        reason="chargeback",
        amount=amount,
        refunded_fen=amount * FEN if fen is None else fen,
        payment_method="alipay",
        description="back",
        now=now,
    )


class TestGranting:
    def test_the_first_grant_opens_the_account_with_lot_one(self) -> None:
        after = given().when(grant(1, 100)).then(granted(1, 100)).state()
        assert after == CreditAccount(available=100, lots=(lot(1, 100),), lots_granted=1)

    def test_every_grant_is_a_lot_of_its_own(self) -> None:
        given(granted(1, 100), granted(2, 50)).when(grant(3, 100)).then(granted(3, 100))

    def test_lots_keep_counting_after_earlier_ones_are_spent(self) -> None:
        given(granted(1, 5), consumed((1, 5))).when(grant(2, 7)).then(granted(2, 7))

    def test_what_money_bought_is_paid_for(self) -> None:
        after = given().when(grant(1, 80, paid=True)).then(granted(1, 80, paid=True)).state()
        assert after.lots == (lot(1, 80, paid=True),)

    def test_one_fen_is_enough_to_be_paid_for(self) -> None:
        history = granted(1, 9).__class__(
            transaction_id="g", lot=1, amount=9, source="recharge", description="in", paid_fen=1
        )
        given(history, granted(2, 1)).when(consume(2)).then(consumed((2, 1), (1, 1, 1)))

    def test_a_lot_keeps_its_date(self) -> None:
        after = given().when(grant(1, 5, expires_at=SOON)).then(granted(1, 5, expires_at=SOON)).state()
        assert after.lots == (lot(1, 5, expires_at=SOON),)

    @pytest.mark.parametrize("amount", [0, -1])
    def test_granting_nothing_is_a_mistake_of_the_caller(self, amount: int) -> None:
        given().when_mistaken(grant(1, amount))


class TestConsuming:
    def test_consumed_credits_are_gone(self) -> None:
        after = given(granted(1, 10)).when(consume(4)).then(consumed((1, 4))).state()
        assert after == CreditAccount(available=6, lots=(lot(1, 6, of=10),), lots_granted=1)

    def test_the_very_last_credit_can_be_spent(self) -> None:
        after = given(granted(1, 10)).when(consume(10)).then(consumed((1, 10))).state()
        assert after == CreditAccount(lots_granted=1)

    def test_one_more_than_there_is_is_refused(self) -> None:
        given(granted(1, 10)).when(consume(11)).then_refused(InsufficientCredits, required=11, available=10)

    def test_an_account_that_never_had_anything_can_spend_nothing(self) -> None:
        given().when(consume(1)).then_refused(InsufficientCredits, required=1, available=0)

    def test_held_credits_cannot_be_consumed(self) -> None:
        history = granted(1, 10), held("a", (1, 6))
        given(*history).when(consume(5)).then_refused(InsufficientCredits, required=5, available=4)
        given(*history).when(consume(4)).then(consumed((1, 4)))

    @pytest.mark.parametrize("amount", [0, -1])
    def test_consuming_nothing_is_a_mistake_of_the_caller(self, amount: int) -> None:
        given(granted(1, 10)).when_mistaken(consume(amount))

    def test_one_debit_may_take_from_several_lots(self) -> None:
        after = (
            given(granted(1, 3), granted(2, 4), granted(3, 5)).when(consume(8)).then(consumed((1, 3), (2, 4), (3, 1)))
        )
        assert after.state() == CreditAccount(available=4, lots=(lot(3, 4, of=5),), lots_granted=3)

    def test_a_lot_is_used_up_before_the_next_is_touched(self) -> None:
        given(granted(1, 3), granted(2, 4)).when(consume(3)).then(consumed((1, 3))).when(consume(1)).then(
            consumed((2, 1))
        )


class TestTheOrderOfLots:
    def test_the_oldest_comes_first_among_equals(self) -> None:
        given(granted(1, 5), granted(2, 5)).when(consume(6)).then(consumed((1, 5), (2, 1)))

    def test_promotional_credits_are_spent_before_paid_ones(self) -> None:
        given(granted(1, 5, paid=True), granted(2, 5)).when(consume(6)).then(consumed((2, 5), (1, 1, 10)))

    def test_what_expires_is_spent_before_what_never_does(self) -> None:
        history = granted(1, 5), granted(2, 5, expires_at=LATER)
        given(*history).when(consume(6)).then(consumed((2, 5), (1, 1)))

    def test_the_soonest_to_expire_is_spent_first(self) -> None:
        history = granted(1, 5, expires_at=LATER), granted(2, 5, expires_at=SOON)
        given(*history).when(consume(6)).then(consumed((2, 5), (1, 1)))

    def test_the_date_counts_before_who_paid(self) -> None:
        history = granted(1, 5), granted(2, 5, paid=True, expires_at=SOON)
        given(*history).when(consume(6)).then(consumed((2, 5, 50), (1, 1)))

    def test_of_one_date_the_promotional_goes_first(self) -> None:
        history = granted(1, 5, paid=True, expires_at=SOON), granted(2, 5, expires_at=SOON)
        given(*history).when(consume(6)).then(consumed((2, 5), (1, 1, 10)))

    def test_what_a_credit_cost_does_not_matter(self) -> None:
        dear = replace(granted(1, 5, paid=True), paid_fen=500)
        given(dear, granted(2, 5, paid=True)).when(consume(1)).then(consumed((1, 1, 100)))

    def test_all_rules_together(self) -> None:
        history = (
            granted(1, 1, paid=True),
            granted(2, 1),
            granted(3, 1, paid=True, expires_at=LATER),
            granted(4, 1, expires_at=LATER),
            granted(5, 1, expires_at=LATER),
            granted(6, 1, paid=True, expires_at=SOON),
            granted(7, 1),
        )
        expected = consumed((6, 1, 10), (4, 1), (5, 1), (3, 1, 10), (2, 1), (7, 1), (1, 1, 10))
        given(*history).when(consume(7)).then(expected)

    def test_holds_take_lots_in_the_same_order(self) -> None:
        history = granted(1, 5, paid=True), granted(2, 5), granted(3, 5, expires_at=SOON)
        given(*history).when(hold("a", 12)).then(held("a", (3, 5), (2, 5), (1, 2, 20)))


class TestHolding:
    def test_held_credits_are_neither_available_nor_spent(self) -> None:
        after = given(granted(1, 10)).when(hold("a", 6)).then(held("a", (1, 6))).state()
        assert after == CreditAccount(
            available=4, held=6, lots=(lot(1, 4, of=10),), holds={"a": aside(lot(1, 6, of=10))}, lots_granted=1
        )

    def test_a_hold_keeps_what_it_is_for_and_when_it_ends(self) -> None:
        after = given(granted(1, 10)).when(replace(hold("a", 6), expires_at=SOON)).state()
        assert after.holds == {"a": Hold((lot(1, 6, of=10),), MODEL, SOON)}

    def test_everything_can_be_held(self) -> None:
        after = given(granted(1, 10)).when(hold("a", 10)).then(held("a", (1, 10))).state()
        assert (after.available, after.held, after.lots) == (0, 10, ())

    def test_one_more_than_there_is_cannot_be_held(self) -> None:
        given(granted(1, 10)).when(hold("a", 11)).then_refused(InsufficientCredits, required=11, available=10)

    def test_what_is_held_cannot_be_held_again_for_another_task(self) -> None:
        history = granted(1, 10), held("a", (1, 6))
        given(*history).when(hold("b", 5)).then_refused(InsufficientCredits, required=5, available=4)

    def test_a_hold_is_opened_once(self) -> None:
        given(granted(1, 10), held("a", (1, 3))).when(hold("a", 3)).then_refused(HoldExists, hold_id="a")

    def test_that_a_hold_is_open_matters_more_than_that_the_credits_are_short(self) -> None:
        given(granted(1, 10), held("a", (1, 10))).when(hold("a", 3)).then_refused(HoldExists, hold_id="a")

    def test_several_holds_stand_side_by_side(self) -> None:
        after = (
            given(granted(1, 4), granted(2, 4), held("a", (1, 3))).when(hold("b", 3)).then(held("b", (1, 1), (2, 2)))
        )
        assert after.state() == CreditAccount(
            available=2,
            held=6,
            lots=(lot(2, 2, of=4),),
            holds={"a": aside(lot(1, 3, of=4)), "b": aside(lot(1, 1, of=4), lot(2, 2, of=4))},
            lots_granted=2,
        )

    @pytest.mark.parametrize("amount", [0, -1])
    def test_holding_nothing_is_a_mistake_of_the_caller(self, amount: int) -> None:
        given(granted(1, 10)).when_mistaken(hold("a", amount))


class TestCapturing:
    def test_capturing_all_spends_exactly_what_was_held(self) -> None:
        after = given(granted(1, 10), held("a", (1, 6))).when(capture("a", 6)).then(captured("a", (1, 6))).state()
        assert after == CreditAccount(available=4, lots=(lot(1, 4, of=10),), lots_granted=1)

    def test_what_is_not_captured_goes_back_at_once(self) -> None:
        after = given(granted(1, 10), held("a", (1, 6))).when(capture("a", 4))
        assert after.then(captured("a", (1, 4), returned=((1, 2),))).state() == CreditAccount(
            available=6, lots=(lot(1, 6, of=10),), lots_granted=1
        )

    def test_a_partial_capture_spends_in_order_and_returns_to_the_very_lots(self) -> None:
        history = (
            granted(1, 5, expires_at=SOON),
            granted(2, 5),
            granted(3, 5, paid=True),
            held("a", (1, 5), (2, 5), (3, 2, 20)),
        )
        event = captured("a", (1, 5), (2, 1), returned=((2, 4), (3, 2, 20)))
        after = given(*history).when(capture("a", 6)).then(event).state()
        assert after == CreditAccount(available=9, lots=(lot(2, 4, of=5), lot(3, 5, paid=True)), lots_granted=3)

    def test_the_rest_keeps_its_date_and_its_place_in_the_order(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5), held("a", (1, 5))
        after = given(*history).when(capture("a", 2)).then(captured("a", (1, 2), returned=((1, 3),)))
        assert after.state().lots == (lot(1, 3, of=5, expires_at=SOON), lot(2, 5))

    def test_more_than_was_held_is_refused(self) -> None:
        given(granted(1, 10), held("a", (1, 6))).when(capture("a", 7)).then_refused(
            CaptureExceedsHold, amount=7, held=6
        )

    def test_a_hold_that_never_was_cannot_be_captured(self) -> None:
        given(granted(1, 10)).when(capture("a", 1)).then_refused(HoldNotOpen, hold_id="a")

    def test_a_hold_is_captured_once(self) -> None:
        history = granted(1, 10), held("a", (1, 6)), captured("a", (1, 6))
        given(*history).when(capture("a", 6)).then_refused(HoldNotOpen, hold_id="a")

    def test_a_hold_partly_captured_has_ended_all_the_same(self) -> None:
        history = granted(1, 10), held("a", (1, 6)), captured("a", (1, 4), returned=((1, 2),))
        given(*history).when(capture("a", 1)).then_refused(HoldNotOpen, hold_id="a")
        given(*history).when(release("a")).then_refused(HoldNotOpen, hold_id="a")

    def test_a_released_hold_cannot_be_captured(self) -> None:
        history = granted(1, 10), held("a", (1, 6)), released("a", (1, 6))
        given(*history).when(capture("a", 6)).then_refused(HoldNotOpen, hold_id="a")

    def test_other_holds_stay_open(self) -> None:
        history = granted(1, 10), held("a", (1, 3)), held("b", (1, 4))
        after = given(*history).when(capture("a", 3)).then(captured("a", (1, 3))).state()
        assert (after.held, after.holds) == (4, {"b": aside(lot(1, 4, of=10))})

    @pytest.mark.parametrize("amount", [0, -1])
    def test_capturing_nothing_is_a_mistake_of_the_caller(self, amount: int) -> None:
        given(granted(1, 10), held("a", (1, 6))).when_mistaken(capture("a", amount))


class TestReleasing:
    @pytest.mark.parametrize("reason", ["failed", "cancelled", "timed_out"])
    def test_a_release_undoes_the_hold_and_says_why(self, reason: Release) -> None:
        before = granted(1, 10)
        after = given(before, held("a", (1, 6))).when(release("a", reason)).then(released("a", (1, 6), reason=reason))
        assert after.state() == given(before).state()

    def test_all_of_it_goes_back_to_the_very_lots_it_came_from(self) -> None:
        before = granted(1, 5, expires_at=SOON), granted(2, 5), granted(3, 5, paid=True)
        taken = (1, 5), (2, 5), (3, 2, 20)
        after = given(*before, held("a", *taken)).when(release("a")).then(released("a", *taken))
        assert after.state() == given(*before).state()

    def test_a_lot_that_was_used_up_comes_back_in_its_place(self) -> None:
        history = granted(1, 5, paid=True), granted(2, 5), held("a", (2, 5)), granted(3, 5)
        after = given(*history).when(release("a")).then(released("a", (2, 5))).state()
        assert after.lots == (lot(2, 5), lot(3, 5), lot(1, 5, paid=True))

    def test_what_comes_back_joins_what_is_left_of_the_lot(self) -> None:
        history = granted(1, 10), held("a", (1, 6)), consumed((1, 1))
        after = given(*history).when(release("a")).then(released("a", (1, 6))).state()
        assert after == CreditAccount(available=9, lots=(lot(1, 9, of=10),), lots_granted=1)

    def test_a_hold_that_never_was_cannot_be_released(self) -> None:
        given(granted(1, 10)).when(release("a")).then_refused(HoldNotOpen, hold_id="a")

    def test_a_hold_is_released_once(self) -> None:
        history = granted(1, 10), held("a", (1, 6)), released("a", (1, 6))
        given(*history).when(release("a")).then_refused(HoldNotOpen, hold_id="a")

    def test_a_captured_hold_cannot_be_released(self) -> None:
        history = granted(1, 10), held("a", (1, 6)), captured("a", (1, 6))
        given(*history).when(release("a")).then_refused(HoldNotOpen, hold_id="a")

    def test_other_holds_stay_open(self) -> None:
        history = granted(1, 10), held("a", (1, 3)), held("b", (1, 4))
        after = given(*history).when(release("a")).then(released("a", (1, 3))).state()
        assert (after.available, after.held, after.holds) == (6, 4, {"b": aside(lot(1, 4, of=10))})

    def test_released_credits_can_be_spent_again(self) -> None:
        history = granted(1, 10), held("a", (1, 10)), released("a", (1, 10))
        given(*history).when(consume(10)).then(consumed((1, 10)))


class TestExpiring:
    def test_a_lot_is_gone_at_the_very_moment_of_its_date(self) -> None:
        after = given(granted(1, 5, expires_at=SOON)).when(ExpireCredits(now=SOON)).then(expired(1, 5)).state()
        assert after == CreditAccount(lots_granted=1)

    def test_a_moment_before_its_date_a_lot_is_whole(self) -> None:
        history = granted(1, 5, expires_at=SOON)
        given(history).when(ExpireCredits(now=SOON - MOMENT)).then_nothing()
        given(history).when(consume(5, SOON - MOMENT)).then(consumed((1, 5)))

    def test_what_has_no_date_never_expires(self) -> None:
        given(granted(1, 5)).when(ExpireCredits(now=datetime.max.replace(tzinfo=UTC))).then_nothing()

    def test_nothing_expires_on_an_account_without_anything(self) -> None:
        given().when(ExpireCredits(now=NOW)).then_nothing()

    def test_only_what_is_left_of_a_lot_expires(self) -> None:
        history = granted(1, 5, expires_at=SOON), consumed((1, 2))
        given(*history).when(ExpireCredits(now=SOON)).then(expired(1, 3))

    def test_every_lot_past_its_date_expires_and_no_other(self) -> None:
        history = granted(1, 5, expires_at=LATER), granted(2, 6, expires_at=SOON), granted(3, 7), granted(4, 8)
        after = given(*history).when(ExpireCredits(now=SOON)).then(expired(2, 6)).when(ExpireCredits(now=LATER))
        assert after.then(expired(1, 5)).state().available == 15
        given(*history).when(ExpireCredits(now=LATER)).then(expired(2, 6), expired(1, 5))

    def test_paid_credits_expire_like_any_other(self) -> None:
        given(granted(1, 5, paid=True, expires_at=SOON)).when(ExpireCredits(now=SOON)).then(expired(1, 5, 50))

    def test_expiring_again_changes_nothing(self) -> None:
        given(granted(1, 5, expires_at=SOON), expired(1, 5)).when(ExpireCredits(now=LATER)).then_nothing()

    def test_spending_first_lets_go_of_what_is_past_its_date(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5)
        after = given(*history).when(consume(2, SOON)).then(expired(1, 5), consumed((2, 2))).state()
        assert after == CreditAccount(available=3, lots=(lot(2, 3, of=5),), lots_granted=2)

    def test_holding_first_lets_go_of_what_is_past_its_date(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5)
        given(*history).when(hold("a", 2, SOON)).then(expired(1, 5), held("a", (2, 2)))

    def test_what_is_past_its_date_cannot_be_spent_or_held(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5)
        given(*history).when(consume(6, SOON)).then_refused(InsufficientCredits, required=6, available=5)
        given(*history).when(hold("a", 6, SOON)).then_refused(InsufficientCredits, required=6, available=5)

    def test_what_is_held_does_not_expire_and_can_be_captured_late(self) -> None:
        history = granted(1, 5, expires_at=SOON), held("a", (1, 3))
        given(*history).when(ExpireCredits(now=LATER)).then(expired(1, 2)).when(capture("a", 3)).then(
            captured("a", (1, 3))
        )

    def test_what_comes_back_after_its_date_expires_at_once(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 1), held("a", (1, 5))
        back = given(*history).when(release("a", now=SOON)).then(released("a", (1, 5)), expired(1, 5))
        assert back.state().available == 1
        given(*history).when(release("a", now=SOON - MOMENT)).then(released("a", (1, 5)))

    def test_the_rest_of_a_late_capture_expires_at_once(self) -> None:
        history = granted(1, 5, expires_at=SOON), held("a", (1, 5))
        event = captured("a", (1, 2), returned=((1, 3),))
        given(*history).when(capture("a", 2, SOON)).then(event, expired(1, 3))
        given(*history).when(capture("a", 2, SOON - MOMENT)).then(event)

    def test_a_lot_that_comes_too_late_is_gone_at_once(self) -> None:
        command = grant(1, 5, expires_at=SOON, now=SOON)
        given().when(command).then(granted(1, 5, expires_at=SOON), expired(1, 5))


class TestPriority:
    def test_a_lot_keeps_its_own(self) -> None:
        after = given().when(grant(1, 5, priority=7)).then(granted(1, 5, priority=7)).state()
        assert [lot.terms.priority for lot in after.lots] == [7]

    def test_the_lower_number_is_spent_first_whatever_else(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5, paid=True, priority=PRIORITY - 1)
        given(*history).when(consume(6)).then(consumed((2, 5, 50), (1, 1)))

    def test_a_later_one_expires_on_its_date_all_the_same(self) -> None:
        history = granted(1, 5, priority=0), granted(2, 5, expires_at=SOON)
        given(*history).when(ExpireCredits(now=SOON)).then(expired(2, 5))


class TestTheFenOfALot:
    def test_each_part_has_its_share_and_the_last_one_the_rest(self) -> None:
        # Ten fen for three credits.
        lot_of_three = CreditsGranted(
            transaction_id="g", lot=1, amount=3, source="recharge", description="in", paid_fen=10
        )
        first = given(lot_of_three).when(consume(1)).then(consumed((1, 1, 4)))
        second = first.when(consume(1)).then(consumed((1, 1, 3)))
        second.when(consume(1)).then(consumed((1, 1, 3)))

    def test_what_is_released_brings_its_fen_back(self) -> None:
        history = granted(1, 10, paid=True), held("a", (1, 6, 60))
        after = given(*history).when(release("a")).then(released("a", (1, 6, 60))).state()
        assert after.lots == (lot(1, 10, paid=True),)

    def test_cheap_credits_do_not_put_their_price_off_to_the_end(self) -> None:
        # Ten credits a fen: no single credit is worth one, but ten are.
        cheap = CreditsGranted(
            transaction_id="g", lot=1, amount=1_000, source="recharge", description="in", paid_fen=100
        )
        account, fen = given(cheap).state(), 0
        for spent in range(1, 501):
            (event,) = CREDITS.decide(consume(1), account)
            assert isinstance(event, CreditsConsumed)
            account, fen = CREDITS.evolve(account, event), fen + event.taken[0].fen
            assert abs(fen - spent / 10) < 1

    def test_who_captures_a_whole_hold_captures_all_of_its_money(self) -> None:
        # Seven fen for five credits: the one that is left has less than its share, and gets nothing of the hold's.
        lot_of_five = CreditsGranted(
            transaction_id="g", lot=1, amount=5, source="recharge", description="in", paid_fen=7
        )
        first = given(lot_of_five).when(hold("a", 2)).then(held("a", (1, 2, 3)))
        second = first.when(hold("b", 2)).then(held("b", (1, 2, 3))).when(release("a")).then(released("a", (1, 2, 3)))
        second.when(capture("b", 2)).then(captured("b", (1, 2, 3)))


class TestReversing:
    def test_what_was_consumed_comes_back_to_the_very_lots(self) -> None:
        spent = consumed((1, 5), (2, 3, 30))
        history = granted(1, 5, expires_at=LATER), granted(2, 5, paid=True), spent
        back = lot(1, 5, expires_at=LATER), lot(2, 3, of=5, paid=True)
        event = SpendingReversed(
            transaction_id="reverse", reverses="spend", amount=8, description="sorry", returned=back
        )
        after = given(*history).when(reverse(spent, *back)).then(event).state()
        assert after.lots == given(*history[:2]).state().lots
        assert (after.available, after.reversed_ids) == (10, frozenset({"spend"}))

    def test_what_was_captured_can_come_back_too(self) -> None:
        spent = captured("a", (1, 4), returned=((1, 2),))
        event = SpendingReversed(
            transaction_id="reverse",
            reverses="capture",
            amount=4,
            description="sorry",
            returned=(lot(1, 4, of=10),),
            product=MODEL,
        )
        given(granted(1, 10), held("a", (1, 6)), spent).when(reverse(spent, lot(1, 10))).then(event)

    def test_every_reversal_is_remembered(self) -> None:
        one, other = consumed((1, 2), transaction_id="one"), consumed((1, 3), transaction_id="other")
        after = given(granted(1, 9), one, other).when(reverse(one, lot(1, 9))).when(reverse(other, lot(1, 9))).state()
        assert after.reversed_ids == {"one", "other"}

    def test_it_comes_back_once(self) -> None:
        spent = consumed((1, 5))
        once = given(granted(1, 5), spent).when(reverse(spent, lot(1, 5)))
        once.when(reverse(spent, lot(1, 5))).then_refused(AlreadyReversed)

    def test_what_is_past_its_date_by_then_expires_at_once(self) -> None:
        spent = consumed((1, 2))
        history = granted(1, 5, expires_at=SOON), spent, expired(1, 3)
        after = given(*history).when(reverse(spent, lot(1, 5, expires_at=SOON), now=LATER)).state()
        assert (after.available, after.lots) == (0, ())


class TestRemoving:
    def test_finance_takes_credits_in_the_order_of_spending(self) -> None:
        history = granted(1, 5, paid=True), granted(2, 5)
        given(*history).when(remove(6)).then(removed((2, 5), (1, 1, 10)))

    def test_removing_first_lets_go_of_what_is_past_its_date(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5)
        given(*history).when(replace(remove(3), now=SOON)).then(expired(1, 5), removed((2, 3)))

    def test_more_than_there_is_cannot_be_removed(self) -> None:
        given(granted(1, 5), held("a", (1, 3))).when(remove(3)).then_refused(
            InsufficientCredits, required=3, available=2
        )


class TestClawingBack:
    def test_what_the_order_brought_goes_first(self) -> None:
        history = granted(1, 5), granted(2, 5, paid=True), granted(3, 5, paid=True)
        after = given(*history).when(claw_back(3, 5)).then(clawed_back(3, (3, 5, 50))).state()
        assert (after.available, after.owed) == (10, 0)

    def test_it_is_taken_from_its_lot_wherever_that_is_in_line(self) -> None:
        after = given(granted(1, 5), granted(2, 5, paid=True)).when(claw_back(2, 3)).state()
        assert after.lots == (lot(1, 5), lot(2, 2, of=5, paid=True))

    def test_what_was_spent_of_it_is_taken_from_the_others(self) -> None:
        history = granted(1, 5), granted(2, 5, paid=True), consumed((1, 5), (2, 4, 40)), granted(3, 9)
        given(*history).when(claw_back(2, 5)).then(clawed_back(2, (2, 1, 10), (3, 4)))

    def test_what_is_not_there_is_owed(self) -> None:
        history = granted(1, 10, paid=True), consumed((1, 7, 70))
        after = given(*history).when(claw_back(1, 10)).then(clawed_back(1, (1, 3, 30), owed=7)).state()
        assert (after.available, after.owed) == (0, 7)

    def test_what_is_held_is_not_taken_but_pays_the_debt_when_it_is_released(self) -> None:
        history = granted(1, 10, paid=True), held("a", (1, 6, 60))
        owing = given(*history).when(claw_back(1, 10)).then(clawed_back(1, (1, 4, 40), owed=6))
        after = owing.when(release("a")).then(released("a", (1, 6, 60)), debt_paid((1, 6, 60))).state()
        assert after == CreditAccount(lots_granted=1)

    def test_the_first_credits_that_come_in_pay_what_is_owed(self) -> None:
        owing = granted(1, 10, paid=True), consumed((1, 10, 100)), clawed_back(1, owed=10)
        less = given(*owing).when(grant(2, 4)).then(granted(2, 4), debt_paid((2, 4))).state()
        assert (less.available, less.owed) == (0, 6)
        more = given(*owing).when(grant(2, 15, paid=True)).then(granted(2, 15, paid=True), debt_paid((2, 10, 100)))
        assert (more.state().available, more.state().owed) == (5, 0)

    def test_the_rest_of_a_capture_pays_what_is_owed(self) -> None:
        owing = granted(1, 10, paid=True), held("a", (1, 10, 100)), clawed_back(1, owed=10)
        event = captured("a", (1, 4, 40), returned=((1, 6, 60),))
        given(*owing).when(capture("a", 4)).then(event, debt_paid((1, 6, 60)))

    def test_who_owes_can_spend_nothing(self) -> None:
        owing = granted(1, 10, paid=True), consumed((1, 10, 100)), clawed_back(1, owed=10)
        given(*owing).when(consume(1)).then_refused(InsufficientCredits, required=1, available=0)

    def test_debts_add_up(self) -> None:
        history = granted(1, 10, paid=True), consumed((1, 10, 100)), clawed_back(1, owed=4, fen=40)
        assert given(*history).when(claw_back(1, 6)).then(clawed_back(1, owed=6)).state().owed == 10

    def test_a_few_fen_may_be_worth_no_credit(self) -> None:
        event = clawed_back(1, fen=1)
        given(granted(1, 10, paid=True)).when(claw_back(1, 0, fen=1)).then(event)

    def test_what_is_past_its_date_is_not_there_to_be_taken(self) -> None:
        history = granted(1, 10, paid=True, expires_at=SOON)
        given(history).when(claw_back(1, 10, now=SOON)).then(expired(1, 10, 100), clawed_back(1, owed=10))
