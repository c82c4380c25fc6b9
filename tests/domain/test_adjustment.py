"""Large adjustments need a second person, each is decided once, and nobody has a say in their own account."""

from datetime import UTC, datetime

import msgspec
import pytest

from mintage.domain.adjustment.decider import (
    ADJUSTMENT,
    Adjustment,
    AdjustmentCommand,
    AdjustmentDecided,
    AdjustmentExists,
    AdjustmentUnknown,
    ApproveAdjustment,
    OwnAccount,
    RejectAdjustment,
    RequestAdjustment,
    SecondPersonNeeded,
)
from mintage.domain.adjustment.events import (
    AdjustmentApproved,
    AdjustmentEvent,
    AdjustmentRejected,
    AdjustmentRequested,
)
from tests.scenario import Given

LATER = datetime(2030, 1, 1, tzinfo=UTC)
REQUEST = RequestAdjustment(
    user_id="ann", amount=1_001, reason="lost", requested_by="fay", limit=1_000, priority=7, expires_at=LATER
)
PENDING = AdjustmentRequested(
    user_id="ann",
    amount=1_001,
    reason="lost",
    requested_by="fay",
    priority=7,
    limit=1_000,
    needs_approval=True,
    expires_at=LATER,
)
SMALL = msgspec.structs.replace(PENDING, amount=1_000, needs_approval=False)
APPROVED = AdjustmentApproved(approved_by="gus")
REJECTED = AdjustmentRejected(rejected_by="gus")


def given(*history: AdjustmentEvent) -> Given[Adjustment, AdjustmentCommand, AdjustmentEvent]:
    return Given(ADJUSTMENT, *history)


@pytest.mark.parametrize(
    ("amount", "limit", "needs_approval"),
    [
        (1_000, 1_000, False),
        (1_001, 1_000, True),
        (-1_000, 1_000, False),
        (-1_001, 1_000, True),
        (1, 0, True),
        (-1, 0, True),
    ],
)
def test_above_the_limit_whatever_its_sign_it_waits(amount: int, limit: int, needs_approval: bool) -> None:
    asked = msgspec.structs.replace(REQUEST, amount=amount, limit=limit)
    event = msgspec.structs.replace(PENDING, amount=amount, limit=limit, needs_approval=needs_approval)
    state = given().when(asked).then(event).state()
    assert state.status == ("pending" if needs_approval else "applied")


def test_what_waits_remembers_what_is_to_be_done() -> None:
    assert given(PENDING).state() == Adjustment(
        status="pending", user_id="ann", amount=1_001, requested_by="fay", priority=7, expires_at=LATER
    )


def test_adjusting_by_nothing_is_a_mistake_of_the_caller() -> None:
    given().when_mistaken(msgspec.structs.replace(REQUEST, amount=0))


def test_an_id_is_used_once() -> None:
    for history in ((PENDING,), (SMALL,), (PENDING, APPROVED), (PENDING, REJECTED)):
        given(*history).when(REQUEST).then_refused(AdjustmentExists)


def test_a_second_person_approves() -> None:
    assert given(PENDING).when(ApproveAdjustment(approved_by="gus")).then(APPROVED).state().status == "applied"


def test_who_asked_cannot_approve() -> None:
    approve = ApproveAdjustment(approved_by="fay")
    given(PENDING).when(approve).then_refused(SecondPersonNeeded, requested_by="fay")


def test_a_second_person_rejects_and_who_asked_may_take_it_back() -> None:
    for person in ("gus", "fay"):
        reject = RejectAdjustment(rejected_by=person)
        decided = given(PENDING).when(reject).then(AdjustmentRejected(rejected_by=person))
        assert decided.state().status == "rejected"


def test_nobody_has_a_say_in_their_own_account() -> None:
    own = msgspec.structs.replace(REQUEST, requested_by="ann", amount=1)
    given().when(own).then_refused(OwnAccount, user_id="ann")
    given(PENDING).when(ApproveAdjustment(approved_by="ann")).then_refused(OwnAccount, user_id="ann")
    given(PENDING).when(RejectAdjustment(rejected_by="ann")).then_refused(OwnAccount, user_id="ann")


@pytest.mark.parametrize("command", [ApproveAdjustment(approved_by="hal"), RejectAdjustment(rejected_by="hal")])
def test_it_is_decided_once(command: AdjustmentCommand) -> None:
    given(SMALL).when(command).then_refused(AdjustmentDecided, status="applied")
    given(PENDING, APPROVED).when(command).then_refused(AdjustmentDecided, status="applied")
    given(PENDING, REJECTED).when(command).then_refused(AdjustmentDecided, status="rejected")


@pytest.mark.parametrize("command", [ApproveAdjustment(approved_by="gus"), RejectAdjustment(rejected_by="gus")])
def test_what_nobody_asked_for_cannot_be_decided(command: AdjustmentCommand) -> None:
    given().when(command).then_refused(AdjustmentUnknown)
