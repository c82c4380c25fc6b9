"""An adjustment and its movement are stored together or not at all, above the limit only by two persons."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from mintage.application.adjustments import Adjusted, Adjustments, Wish
from mintage.application.once import KeyReused, Reply
from mintage.domain.adjustment.decider import AdjustmentDecided, AdjustmentUnknown, OwnAccount, SecondPersonNeeded
from mintage.domain.adjustment.events import AdjustmentApproved, AdjustmentRejected, AdjustmentRequested
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.credits.events import CreditsGranted, CreditsRemoved, Slice
from mintage.domain.fields import InvalidFields
from mintage.domain.registration.decider import REGISTRATION, Erase, PersonUnknown
from tests.application.world import NOW, World, asked

LATER = NOW + timedelta(days=30)


@pytest.fixture
async def adjustments(world: World) -> Adjustments:
    await world.register("ann", having=100)
    return Adjustments(world.journal, world.new_id, limit=50)


def wish(amount: int, reason: str = "lost in a crash", **more: object) -> Wish:
    return Wish(user_id="ann", amount=amount, reason=reason, **more)  # type: ignore[arg-type]


def outcome(reply: Reply[Adjusted]) -> Adjusted:
    assert reply.outcome is not None
    return reply.outcome


async def test_a_small_one_takes_effect_at_once(world: World, adjustments: Adjustments) -> None:
    done = outcome(await adjustments.request(wish(50, expires_at=LATER, priority=3), actor="fay"))
    assert done == Adjusted(done.adjustment_id, "ann", 50, "applied")
    (requested,) = world.all_of(AdjustmentRequested)
    assert (requested.requested_by, requested.reason, requested.needs_approval) == ("fay", "lost in a crash", False)
    assert world.events("credits-ann")[-1] == CreditsGranted(
        transaction_id=done.adjustment_id,
        lot=2,
        amount=50,
        source="adjustment",
        description="人工调整增加50积分",
        expires_at=LATER,
        priority=3,
        reference=done.adjustment_id,
    )
    assert len({entry.command_id for entry in world.entries[-2:]}) == 1
    assert {entry.actor for entry in world.entries[-2:]} == {"fay"}


async def test_credits_are_removed(world: World, adjustments: Adjustments) -> None:
    done = outcome(await adjustments.request(wish(-30), actor="fay"))
    assert done.status == "applied"
    assert world.events("credits-ann")[-1] == CreditsRemoved(
        transaction_id=done.adjustment_id,
        amount=30,
        description="人工调整扣除30积分",
        taken=(Slice(1, 30),),
        reference=done.adjustment_id,
    )
    assert world.account("ann").available == 70


@pytest.mark.parametrize("amount", [51, -51])
async def test_a_large_one_waits_for_a_second_person(world: World, adjustments: Adjustments, amount: int) -> None:
    asked_for = outcome(await adjustments.request(wish(amount), actor="fay"))
    assert asked_for.status == "pending"
    assert world.account("ann").available == 100
    with pytest.raises(SecondPersonNeeded):
        await adjustments.approve(asked_for.adjustment_id, actor="fay")
    with pytest.raises(OwnAccount):
        await adjustments.approve(asked_for.adjustment_id, actor="ann")
    assert world.account("ann").available == 100
    done = outcome(await adjustments.approve(asked_for.adjustment_id, actor="gus"))
    assert done == Adjusted(asked_for.adjustment_id, "ann", amount, "applied")
    assert world.account("ann").available == 100 + amount
    approved, moved = world.entries[-2:]
    assert approved.event == AdjustmentApproved(approved_by="gus")
    assert approved.command_id == moved.command_id
    assert isinstance(moved.event, CreditsGranted | CreditsRemoved)
    assert moved.event.reference == asked_for.adjustment_id


async def test_what_is_rejected_never_takes_effect(world: World, adjustments: Adjustments) -> None:
    pending = outcome(await adjustments.request(wish(1_000), actor="fay"))
    done = outcome(await adjustments.reject(pending.adjustment_id, actor="gus"))
    assert done.status == "rejected"
    assert world.all_of(AdjustmentRejected) == [AdjustmentRejected(rejected_by="gus")]
    with pytest.raises(AdjustmentDecided) as refused:
        await adjustments.approve(pending.adjustment_id, actor="hal")
    assert refused.value.status == "rejected"
    assert world.account("ann").available == 100


async def test_of_many_approvals_at_once_one_counts(world: World, adjustments: Adjustments) -> None:
    pending = outcome(await adjustments.request(wish(60), actor="fay"))
    approvals = (adjustments.approve(pending.adjustment_id, actor=person) for person in ("gus", "hal", "ivy"))
    results = await asyncio.gather(*approvals, return_exceptions=True)
    assert sum(isinstance(result, AdjustmentDecided) for result in results) == 2
    assert world.account("ann").available == 160


async def test_a_removal_of_more_than_there_is_leaves_no_trace(world: World, adjustments: Adjustments) -> None:
    before = len(world.entries)
    poor = Adjustments(world.journal, world.new_id, limit=1_000)
    with pytest.raises(InsufficientCredits) as refused:
        await poor.request(wish(-101), actor="fay")
    assert (refused.value.required, refused.value.available) == (101, 100)
    assert len(world.entries) == before


async def test_an_approval_that_cannot_be_carried_out_leaves_it_pending(world: World, adjustments: Adjustments) -> None:
    pending = outcome(await adjustments.request(wish(-101), actor="fay"))
    with pytest.raises(InsufficientCredits):
        await adjustments.approve(pending.adjustment_id, actor="gus")
    assert world.all_of(AdjustmentApproved) == []
    await world.grant("ann", 1)
    assert outcome(await adjustments.approve(pending.adjustment_id, actor="gus")).status == "applied"
    assert world.account("ann").available == 0


async def test_nobody_adjusts_their_own_account(world: World, adjustments: Adjustments) -> None:
    with pytest.raises(OwnAccount):
        await adjustments.request(wish(1), actor="ann")
    assert world.all_of(AdjustmentRequested) == []


async def test_a_repeat_with_its_key_adjusts_once(world: World, adjustments: Adjustments) -> None:
    key = asked(user_id="fay", path="/adjustments")
    replies = [
        await adjustments.request(wish(5), actor="fay", render=lambda done: done.adjustment_id.encode(), repeatable=key)
        for _ in range(2)
    ]
    assert replies[0].body == replies[1].body
    assert world.account("ann").available == 105
    other = asked(user_id="fay", path="/adjustments", body=b"other")
    with pytest.raises(KeyReused):
        await adjustments.request(wish(6), actor="fay", repeatable=other)


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        (wish(0), {"amount": "zero"}),
        (wish(1_000_001), {"amount": "between"}),
        (wish(-1_000_001), {"amount": "between"}),
        (wish(1, reason=""), {"reason": "required"}),
        (wish(1, reason=" \u200b\n"), {"reason": "required"}),
        (wish(1, reason="x" * 201), {"reason": "length"}),
        (wish(1, priority=-1), {"priority": "between"}),
        (wish(1, priority=101), {"priority": "between"}),
        (wish(-1, priority=3), {"priority": "for_grants"}),
        (wish(-1, expires_at=LATER), {"expires_at": "for_grants"}),
        (wish(1, expires_at=NOW), {"expires_at": "ahead"}),
        (wish(1, expires_at=NOW + timedelta(days=36_501)), {"expires_at": "ahead"}),
        (wish(1, expires_at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))), {"expires_at": "ahead"}),
        (wish(1, expires_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=23)))), {"expires_at": "ahead"}),
        (wish(0, reason="", priority=200), {"amount": "zero", "reason": "required", "priority": "between"}),
    ],
)
async def test_what_makes_no_sense_is_refused_by_field(
    world: World, adjustments: Adjustments, wrong: Wish, fields: dict[str, str]
) -> None:
    before = len(world.entries)
    with pytest.raises(InvalidFields) as refused:
        await adjustments.request(wrong, actor="fay")
    assert {name: reason.rule for name, reason in refused.value.fields.items()} == fields
    assert len(world.entries) == before


async def test_who_is_not_there_is_not_adjusted(world: World, adjustments: Adjustments) -> None:
    with pytest.raises(PersonUnknown):
        await adjustments.request(Wish(user_id="nobody", amount=1, reason="x"), actor="fay")
    with pytest.raises(AdjustmentUnknown):
        await adjustments.approve("nothing", actor="fay")
    with pytest.raises(AdjustmentUnknown):
        await adjustments.reject("nothing", actor="fay")
    pending = outcome(await adjustments.request(wish(60), actor="fay"))
    await world.journal.transact(lambda transaction: transaction.execute(REGISTRATION, "ann", Erase()), actor="ann")
    with pytest.raises(PersonUnknown):
        await adjustments.request(wish(1), actor="fay")
    with pytest.raises(PersonUnknown):
        await adjustments.approve(pending.adjustment_id, actor="gus")
    assert world.account("ann").available == 100
