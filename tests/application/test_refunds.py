"""A payment that goes back takes back what it bought, once; what is spent already is owed and paid first."""

import asyncio

import pytest

from mintage.application.catalogue import Money
from mintage.application.ledger import Ledger
from mintage.application.recharges import Recharges, Refunded
from mintage.domain.credits.events import CreditsClawedBack, DebtPaid, Slice
from mintage.domain.recharge.decider import (
    NotPaid,
    RechargeUnknown,
    RecordRefund,
    RefundDiffers,
    RefundExceedsPayment,
)
from mintage.domain.recharge.events import RechargeRefunded, RechargeRequested
from tests.application.test_recharges import InstantGateway, PatientGateway
from tests.application.world import World, asked

MONEY = Money(credits_per_yuan=10, signup_bonus=0, referral_bonus_referrer=0, referral_bonus_newcomer=0)


def back(amount_fen: int, reference: str = "back-1", **more: object) -> RecordRefund:
    return RecordRefund(refund_reference=reference, amount_fen=amount_fen, **{"reason": "refund", **more})  # type: ignore[arg-type]


def render(outcome: Refunded) -> bytes:
    return f"{outcome.credits}:{outcome.owed}".encode()


class Till:
    """One paid order for 100 credits at 10 yuan."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.recharges = Recharges(world.journal, InstantGateway(), MONEY, world.new_id)
        self.order = ""

    async def sell(self) -> None:
        await self.recharges.recharge("ann", 10, "alipay", render=lambda _: b"")
        self.order = next(
            entry.key for entry in reversed(self._world.entries) if isinstance(entry.event, RechargeRequested)
        )

    async def refund(self, refund: RecordRefund) -> Refunded:
        reply = await self.recharges.refund(self.order, refund, actor="fay", render=render)
        assert reply.outcome is not None
        return reply.outcome


@pytest.fixture
async def till(world: World) -> Till:
    await world.register("ann")
    till = Till(world)
    await till.sell()
    return till


async def spend(world: World, amount: int) -> None:
    await Ledger(world.journal, world.new_id).consume("ann", amount, "x", render=lambda _: b"")


async def test_what_is_there_is_taken_and_the_money_leaves_the_books(world: World, till: Till) -> None:
    assert await till.refund(back(1_000)) == Refunded(till.order, "ann", 100, 1_000, 0, 0)
    refunded, clawed = world.entries[-2:]
    assert refunded.event == RechargeRefunded(refund_reference="back-1", amount_fen=1_000, credits=100, reason="refund")
    assert isinstance(clawed.event, CreditsClawedBack)
    assert clawed.event == CreditsClawedBack(
        transaction_id=clawed.event.transaction_id,
        recharge_id=till.order,
        reference="back-1",
        reason="refund",
        amount=100,
        refunded_fen=1_000,
        payment_method="alipay",
        description="充值已退款，收回100积分",
        taken=(Slice(1, 100, 1_000),),
        owed=0,
    )
    assert refunded.command_id == clawed.command_id
    assert refunded.actor == "fay"


async def test_what_was_spent_is_owed_and_later_credits_pay_it_first(world: World, till: Till) -> None:
    await spend(world, 70)
    done = await till.refund(back(1_000, reason="chargeback"))
    assert (done.new_balance, done.owed) == (0, 70)
    assert world.all_of(CreditsClawedBack)[0].description == "充值被拒付，收回100积分"
    await world.grant("ann", 30)
    assert (world.account("ann").available, world.account("ann").owed) == (0, 40)
    await till.sell()
    assert (world.account("ann").available, world.account("ann").owed) == (60, 0)
    assert [event.amount for event in world.all_of(DebtPaid)] == [30, 40]


async def test_parts_take_back_their_share(world: World, till: Till) -> None:
    assert (await till.refund(back(505, "a"))).credits == 50
    assert await till.refund(back(495, "b")) == Refunded(till.order, "ann", 50, 1_000, 0, 0)


async def test_a_few_fen_take_back_no_credits_and_still_leave_the_books(world: World, till: Till) -> None:
    done = await till.refund(back(9))
    assert (done.credits, done.refunded_fen, done.new_balance) == (0, 9, 100)
    (clawed,) = world.all_of(CreditsClawedBack)
    assert (clawed.amount, clawed.refunded_fen, clawed.taken, clawed.owed) == (0, 9, (), 0)


async def test_a_refund_told_again_has_no_further_effect(world: World, till: Till) -> None:
    first = await till.refund(back(1_000))
    before = len(world.entries)
    assert await till.refund(back(1_000)) == first
    assert len(world.entries) == before
    results = await asyncio.gather(*(till.refund(back(1_000)) for _ in range(5)))
    assert set(results) == {first}
    assert len(world.entries) == before


async def test_of_many_at_once_one_takes_effect(world: World, till: Till) -> None:
    results = await asyncio.gather(*(till.refund(back(1_000)) for _ in range(5)))
    assert len(set(results)) == 1
    assert len(world.all_of(RechargeRefunded)) == len(world.all_of(CreditsClawedBack)) == 1


async def test_a_repeat_with_its_key_gets_the_first_reply(world: World, till: Till) -> None:
    key = asked(user_id="fay", path="/refund")
    replies = [
        await till.recharges.refund(till.order, back(500), actor="fay", render=render, repeatable=key) for _ in range(2)
    ]
    assert replies[0].body == replies[1].body == b"50:0"
    assert len(world.all_of(RechargeRefunded)) == 1


async def test_what_is_refused_leaves_no_trace(world: World, till: Till) -> None:
    await till.refund(back(400))
    before = len(world.entries)
    with pytest.raises(RefundDiffers):
        await till.refund(back(401))
    with pytest.raises(RefundDiffers):
        await till.refund(back(400, reason="chargeback"))
    with pytest.raises(RefundExceedsPayment):
        await till.refund(back(601, "back-2"))
    with pytest.raises(RechargeUnknown):
        await till.recharges.refund("nothing", back(1), actor="fay", render=render)
    assert len(world.entries) == before


async def test_of_an_order_that_waits_for_its_payment_nothing_goes_back(world: World, till: Till) -> None:
    patient = Recharges(world.journal, PatientGateway(), MONEY, world.new_id)
    await patient.recharge("ann", 10, "alipay", render=lambda _: b"")
    order = world.entries[-1].key
    with pytest.raises(NotPaid):
        await patient.refund(order, back(1), actor="fay", render=render)
