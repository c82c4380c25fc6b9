"""The credit account, rule by rule: lots, holds, refusals, expiry."""

from datetime import UTC, datetime, timedelta

import pytest

from mintage.domain.credits.decider import (
    CREDITS,
    CaptureExceedsHold,
    CaptureHold,
    ConsumeCredits,
    CreditAccount,
    CreditCommand,
    ExpireCredits,
    GrantCredits,
    HoldCredits,
    HoldExists,
    HoldNotOpen,
    InsufficientCredits,
    Lot,
    ReleaseHold,
)
from mintage.domain.credits.events import (
    CreditEvent,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    HoldCaptured,
    HoldReleased,
    Release,
    Slice,
)
from tests.scenario import Given

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
SOON, LATER = NOW + 10 * DAY, NOW + 20 * DAY

Part = tuple[int, int]
"""A lot's number and how many credits of it."""


def given(*history: CreditEvent) -> Given[CreditAccount, CreditCommand, CreditEvent]:
    return Given(CREDITS, *history)


def slices(parts: tuple[Part, ...]) -> tuple[Slice, ...]:
    return tuple(Slice(lot, amount) for lot, amount in parts)


def total(parts: tuple[Part, ...]) -> int:
    return sum(amount for _, amount in parts)


# -- what happened


def granted(lot: int, amount: int, *, paid: bool = False, expires_at: datetime | None = None) -> CreditsGranted:
    return CreditsGranted(
        transaction_id=f"grant-{lot}",
        lot=lot,
        amount=amount,
        source="recharge" if paid else "signup_bonus",
        description="in",
        paid=paid,
        paid_fen=amount * 10 if paid else 0,
        payment_method="alipay" if paid else None,
        expires_at=expires_at,
    )


def consumed(*taken: Part) -> CreditsConsumed:
    return CreditsConsumed(transaction_id="spend", amount=total(taken), description="out", taken=slices(taken))


def held(hold_id: str, *taken: Part) -> CreditsHeld:
    return CreditsHeld(hold_id=hold_id, amount=total(taken), description="aside", taken=slices(taken))


def captured(hold_id: str, *taken: Part, returned: tuple[Part, ...] = ()) -> HoldCaptured:
    return HoldCaptured(
        hold_id=hold_id,
        transaction_id="capture",
        amount=total(taken),
        taken=slices(taken),
        description="made",
        returned=slices(returned),
    )


def released(hold_id: str, *returned: Part, reason: Release = "failed") -> HoldReleased:
    return HoldReleased(hold_id=hold_id, amount=total(returned), returned=slices(returned), reason=reason)


def expired(lot: int, amount: int) -> CreditsExpired:
    return CreditsExpired(lot=lot, amount=amount)


# -- what is asked for


def grant(lot: int, amount: int, *, paid: bool = False, expires_at: datetime | None = None) -> GrantCredits:
    """The command that must lead to ``granted`` with the same arguments."""
    return GrantCredits(
        transaction_id=f"grant-{lot}",
        amount=amount,
        source="recharge" if paid else "signup_bonus",
        description="in",
        paid_fen=amount * 10 if paid else 0,
        payment_method="alipay" if paid else None,
        expires_at=expires_at,
    )


def consume(amount: int, now: datetime = NOW) -> ConsumeCredits:
    return ConsumeCredits(transaction_id="spend", amount=amount, description="out", now=now)


def hold(hold_id: str, amount: int, now: datetime = NOW) -> HoldCredits:
    return HoldCredits(hold_id=hold_id, amount=amount, description="aside", now=now)


def capture(hold_id: str, amount: int) -> CaptureHold:
    return CaptureHold(hold_id=hold_id, transaction_id="capture", amount=amount, description="made")


def release(hold_id: str, reason: Release = "failed") -> ReleaseHold:
    return ReleaseHold(hold_id=hold_id, reason=reason)


class TestGranting:
    def test_the_first_grant_opens_the_account_with_lot_one(self) -> None:
        after = given().when(grant(1, 100)).then(granted(1, 100)).state()
        assert after == CreditAccount(available=100, lots=(Lot(1, 100, False),), lots_granted=1)

    def test_every_grant_is_a_lot_of_its_own(self) -> None:
        given(granted(1, 100), granted(2, 50)).when(grant(3, 100)).then(granted(3, 100))

    def test_lots_keep_counting_after_earlier_ones_are_spent(self) -> None:
        given(granted(1, 5), consumed((1, 5))).when(grant(2, 7)).then(granted(2, 7))

    def test_what_money_bought_is_paid_for(self) -> None:
        after = given().when(grant(1, 80, paid=True)).then(granted(1, 80, paid=True)).state()
        assert after.lots == (Lot(1, 80, True),)

    def test_one_fen_is_enough_to_be_paid_for(self) -> None:
        command = GrantCredits(transaction_id="grant-1", amount=9, source="recharge", description="in", paid_fen=1)
        event = CreditsGranted(
            transaction_id="grant-1", lot=1, amount=9, source="recharge", description="in", paid=True, paid_fen=1
        )
        given().when(command).then(event)

    def test_a_lot_keeps_its_date(self) -> None:
        after = given().when(grant(1, 5, expires_at=SOON)).then(granted(1, 5, expires_at=SOON)).state()
        assert after.lots == (Lot(1, 5, False, SOON),)

    @pytest.mark.parametrize("amount", [0, -1])
    def test_granting_nothing_is_a_mistake_of_the_caller(self, amount: int) -> None:
        given().when_mistaken(grant(1, amount))


class TestConsuming:
    def test_consumed_credits_are_gone(self) -> None:
        after = given(granted(1, 10)).when(consume(4)).then(consumed((1, 4))).state()
        assert after == CreditAccount(available=6, lots=(Lot(1, 6, False),), lots_granted=1)

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
        assert after.state() == CreditAccount(available=4, lots=(Lot(3, 4, False),), lots_granted=3)

    def test_a_lot_is_used_up_before_the_next_is_touched(self) -> None:
        given(granted(1, 3), granted(2, 4)).when(consume(3)).then(consumed((1, 3))).when(consume(1)).then(
            consumed((2, 1))
        )


class TestTheOrderOfLots:
    def test_the_oldest_comes_first_among_equals(self) -> None:
        given(granted(1, 5), granted(2, 5)).when(consume(6)).then(consumed((1, 5), (2, 1)))

    def test_promotional_credits_are_spent_before_paid_ones(self) -> None:
        given(granted(1, 5, paid=True), granted(2, 5)).when(consume(6)).then(consumed((2, 5), (1, 1)))

    def test_what_expires_is_spent_before_what_never_does(self) -> None:
        history = granted(1, 5), granted(2, 5, expires_at=LATER)
        given(*history).when(consume(6)).then(consumed((2, 5), (1, 1)))

    def test_the_soonest_to_expire_is_spent_first(self) -> None:
        history = granted(1, 5, expires_at=LATER), granted(2, 5, expires_at=SOON)
        given(*history).when(consume(6)).then(consumed((2, 5), (1, 1)))

    def test_the_date_counts_before_who_paid(self) -> None:
        history = granted(1, 5), granted(2, 5, paid=True, expires_at=SOON)
        given(*history).when(consume(6)).then(consumed((2, 5), (1, 1)))

    def test_of_one_date_the_promotional_goes_first(self) -> None:
        history = granted(1, 5, paid=True, expires_at=SOON), granted(2, 5, expires_at=SOON)
        given(*history).when(consume(6)).then(consumed((2, 5), (1, 1)))

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
        expected = consumed((6, 1), (4, 1), (5, 1), (3, 1), (2, 1), (7, 1), (1, 1))
        given(*history).when(consume(7)).then(expected)

    def test_holds_take_lots_in_the_same_order(self) -> None:
        history = granted(1, 5, paid=True), granted(2, 5), granted(3, 5, expires_at=SOON)
        given(*history).when(hold("a", 12)).then(held("a", (3, 5), (2, 5), (1, 2)))


class TestHolding:
    def test_held_credits_are_neither_available_nor_spent(self) -> None:
        after = given(granted(1, 10)).when(hold("a", 6)).then(held("a", (1, 6))).state()
        assert after == CreditAccount(
            available=4, held=6, lots=(Lot(1, 4, False),), holds={"a": (Lot(1, 6, False),)}, lots_granted=1
        )

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
            lots=(Lot(2, 2, False),),
            holds={"a": (Lot(1, 3, False),), "b": (Lot(1, 1, False), Lot(2, 2, False))},
            lots_granted=2,
        )

    @pytest.mark.parametrize("amount", [0, -1])
    def test_holding_nothing_is_a_mistake_of_the_caller(self, amount: int) -> None:
        given(granted(1, 10)).when_mistaken(hold("a", amount))


class TestCapturing:
    def test_capturing_all_spends_exactly_what_was_held(self) -> None:
        after = given(granted(1, 10), held("a", (1, 6))).when(capture("a", 6)).then(captured("a", (1, 6))).state()
        assert after == CreditAccount(available=4, lots=(Lot(1, 4, False),), lots_granted=1)

    def test_what_is_not_captured_goes_back_at_once(self) -> None:
        after = given(granted(1, 10), held("a", (1, 6))).when(capture("a", 4))
        assert after.then(captured("a", (1, 4), returned=((1, 2),))).state() == CreditAccount(
            available=6, lots=(Lot(1, 6, False),), lots_granted=1
        )

    def test_a_partial_capture_spends_in_order_and_returns_to_the_very_lots(self) -> None:
        history = (
            granted(1, 5, expires_at=SOON),
            granted(2, 5),
            granted(3, 5, paid=True),
            held("a", (1, 5), (2, 5), (3, 2)),
        )
        event = captured("a", (1, 5), (2, 1), returned=((2, 4), (3, 2)))
        after = given(*history).when(capture("a", 6)).then(event).state()
        assert after == CreditAccount(available=9, lots=(Lot(2, 4, False), Lot(3, 5, True)), lots_granted=3)

    def test_the_rest_keeps_its_date_and_its_place_in_the_order(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5), held("a", (1, 5))
        after = given(*history).when(capture("a", 2)).then(captured("a", (1, 2), returned=((1, 3),)))
        assert after.state().lots == (Lot(1, 3, False, SOON), Lot(2, 5, False))

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
        assert (after.held, after.holds) == (4, {"b": (Lot(1, 4, False),)})

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
        taken = (1, 5), (2, 5), (3, 2)
        after = given(*before, held("a", *taken)).when(release("a")).then(released("a", *taken))
        assert after.state() == given(*before).state()

    def test_a_lot_that_was_used_up_comes_back_in_its_place(self) -> None:
        history = granted(1, 5, paid=True), granted(2, 5), held("a", (2, 5)), granted(3, 5)
        after = given(*history).when(release("a")).then(released("a", (2, 5))).state()
        assert after.lots == (Lot(2, 5, False), Lot(3, 5, False), Lot(1, 5, True))

    def test_what_comes_back_joins_what_is_left_of_the_lot(self) -> None:
        history = granted(1, 10), held("a", (1, 6)), consumed((1, 1))
        after = given(*history).when(release("a")).then(released("a", (1, 6))).state()
        assert after == CreditAccount(available=9, lots=(Lot(1, 9, False),), lots_granted=1)

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
        assert (after.available, after.held, after.holds) == (6, 4, {"b": (Lot(1, 4, False),)})

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
        given(granted(1, 5, paid=True, expires_at=SOON)).when(ExpireCredits(now=SOON)).then(expired(1, 5))

    def test_expiring_again_changes_nothing(self) -> None:
        given(granted(1, 5, expires_at=SOON), expired(1, 5)).when(ExpireCredits(now=LATER)).then_nothing()

    def test_spending_first_lets_go_of_what_is_past_its_date(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 5)
        after = given(*history).when(consume(2, SOON)).then(expired(1, 5), consumed((2, 2))).state()
        assert after == CreditAccount(available=3, lots=(Lot(2, 3, False),), lots_granted=2)

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

    def test_what_comes_back_after_its_date_expires_at_the_next_touch(self) -> None:
        history = granted(1, 5, expires_at=SOON), granted(2, 1), held("a", (1, 5))
        back = given(*history).when(release("a")).then(released("a", (1, 5)))
        assert back.state().available == 6
        back.when(consume(1, LATER)).then(expired(1, 5), consumed((2, 1)))

    def test_the_rest_of_a_late_capture_expires_at_the_next_touch(self) -> None:
        history = granted(1, 5, expires_at=SOON), held("a", (1, 5)), captured("a", (1, 2), returned=((1, 3),))
        given(*history).when(ExpireCredits(now=LATER)).then(expired(1, 3))
