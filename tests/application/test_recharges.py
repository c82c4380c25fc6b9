"""Credits are there when the money is, and a referral is rewarded at the first paid recharge, once, on both sides."""

import asyncio
from itertools import count

import pytest

from mintage.application.catalogue import Money
from mintage.application.once import KeyReused, Repeatable
from mintage.application.ports.payments import Payment
from mintage.application.recharges import Recharged, Recharges
from mintage.domain.credits.events import CreditsGranted
from mintage.domain.recharge.events import RechargePaid, RechargeRequested
from mintage.domain.registration.decider import REGISTRATION, Erase, PersonUnknown
from mintage.domain.registration.events import ReferralRewarded
from tests.application.world import World

MONEY = Money(credits_per_yuan=10, signup_bonus=0, referral_bonus_referrer=50, referral_bonus_newcomer=20)
ASKED = Repeatable("ann", "/recharge", "key-1", b"digest")


class InstantGateway:
    """Has the money at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str]] = []
        self._numbers = count(1)

    async def create(self, *, recharge_id: str, amount_fen: int, method: str) -> Payment:
        self.asked.append((recharge_id, amount_fen, method))
        return Payment(reference=f"paid-{next(self._numbers)}")


class PatientGateway:
    """Says where to pay."""

    async def create(self, *, recharge_id: str, amount_fen: int, method: str) -> Payment:
        return Payment(payment_url=f"https://pay.example.com/{recharge_id}")


def render(outcome: Recharged) -> bytes:
    return f"{outcome.transaction_id}:{outcome.credits_added}:{outcome.new_balance}".encode()


class Till:
    def __init__(self, world: World, money: Money = MONEY) -> None:
        self.gateway = InstantGateway()
        self.recharges = Recharges(world.journal, self.gateway, money, world.new_id)

    async def recharge(self, user_id: str, yuan: int = 10, asked: Repeatable | None = None) -> bytes | None:
        return (await self.recharges.recharge(user_id, yuan, "alipay", render=render, repeatable=asked)).body


@pytest.fixture
async def till(world: World) -> Till:
    await world.register("bob")
    await world.register("ann", referred_by="bob")
    await world.register("eve")
    return Till(world)


def bonuses(world: World) -> list[tuple[str, int]]:
    return [
        (entry.key, entry.event.amount)
        for entry in world.entries
        if isinstance(entry.event, CreditsGranted) and entry.event.source == "referral_bonus"
    ]


async def test_a_payment_that_settles_at_once_brings_the_credits_at_once(world: World, till: Till) -> None:
    reply = await till.recharges.recharge("eve", 12, "alipay", render=render)
    assert reply.outcome is not None
    assert reply.outcome == Recharged(reply.outcome.transaction_id, 120, 120)
    ((recharge_id, amount_fen, method),) = till.gateway.asked
    assert (amount_fen, method) == (1_200, "alipay")
    assert world.events(f"recharge-{recharge_id}") == [
        RechargeRequested(user_id="eve", amount_fen=1_200, credits=120, payment_method="alipay"),
        RechargePaid(payment_reference="paid-1", amount_fen=1_200),
    ]
    assert world.events("credits-eve") == [
        CreditsGranted(
            transaction_id=reply.outcome.transaction_id,
            lot=1,
            amount=120,
            source="recharge",
            description="充值120积分",
            paid_fen=1_200,
            payment_method="alipay",
            reference=recharge_id,
        )
    ]
    assert len({entry.command_id for entry in world.entries[-3:]}) == 1


async def test_until_the_money_comes_there_is_an_order_and_nothing_else(world: World, till: Till) -> None:
    await world.grant("ann", 7)
    patient = Recharges(world.journal, PatientGateway(), MONEY, world.new_id)
    reply = await patient.recharge("ann", 10, "alipay", render=render)
    assert reply.outcome is not None
    assert (reply.outcome.credits_added, reply.outcome.new_balance) == (0, 7)
    assert str(reply.outcome.payment_url).startswith("https://pay.example.com/")
    assert len(world.all_of(RechargeRequested)) == 1
    assert world.all_of(RechargePaid) == []
    assert world.account("ann").available == 7
    assert bonuses(world) == []


async def test_a_repeat_with_its_key_pays_once_and_answers_the_same(world: World, till: Till) -> None:
    first = await till.recharge("ann", 10, ASKED)
    assert await till.recharge("ann", 10, ASKED) == first
    assert len(world.all_of(RechargePaid)) == 1
    with pytest.raises(KeyReused):
        await till.recharge("ann", 20, Repeatable("ann", "/recharge", "key-1", b"another"))
    assert len(world.all_of(RechargePaid)) == 1


class TestReferral:
    async def test_the_first_paid_recharge_rewards_both_sides(self, world: World, till: Till) -> None:
        await till.recharge("ann")
        assert bonuses(world) == [("ann", 20), ("bob", 50)]
        assert world.account("ann").available == 120
        assert world.account("bob").available == 50
        (rewarded,) = world.all_of(ReferralRewarded)
        assert rewarded == ReferralRewarded(user_id="ann", recharge_id=till.gateway.asked[0][0])
        grants = [event for event in world.all_of(CreditsGranted) if event.source == "referral_bonus"]
        assert [event.description for event in grants] == ["使用推荐码注册奖励20积分", "推荐好友奖励50积分"]
        assert not any(event.paid_fen for event in grants)
        assert len({event.transaction_id for event in world.all_of(CreditsGranted)}) == 3

    async def test_the_reply_counts_the_bonus_in_the_balance_but_not_in_what_was_bought(
        self, world: World, till: Till
    ) -> None:
        reply = await till.recharges.recharge("ann", 10, "alipay", render=render)
        assert reply.outcome is not None
        assert (reply.outcome.credits_added, reply.outcome.new_balance) == (100, 120)

    async def test_later_recharges_reward_nobody(self, world: World, till: Till) -> None:
        await till.recharge("ann")
        await till.recharge("ann")
        assert len(bonuses(world)) == 2
        assert world.account("bob").available == 50

    async def test_two_recharges_in_one_batch_reward_once(self, world: World, till: Till) -> None:
        orders = (till.recharges.recharge("ann", 10, "alipay", render=render) for _ in range(3))
        replies = await asyncio.gather(*orders)
        assert [reply.outcome.new_balance for reply in replies if reply.outcome] == [120, 220, 320]
        assert bonuses(world) == [("ann", 20), ("bob", 50)]
        assert world.account("ann").available == 320

    async def test_a_repeated_request_rewards_once(self, world: World, till: Till) -> None:
        await asyncio.gather(*(till.recharge("ann", 10, ASKED) for _ in range(3)))
        assert bonuses(world) == [("ann", 20), ("bob", 50)]
        assert world.account("ann").available == 120

    async def test_who_came_alone_earns_nobody_anything(self, world: World, till: Till) -> None:
        await till.recharge("eve")
        assert bonuses(world) == []
        assert world.all_of(ReferralRewarded) == []

    async def test_a_referrer_is_rewarded_for_every_newcomer(self, world: World, till: Till) -> None:
        await world.register("dan", referred_by="bob")
        await till.recharge("ann")
        await till.recharge("dan")
        assert world.account("bob").available == 100

    async def test_a_reward_of_nothing_moves_nothing_but_is_settled_all_the_same(
        self, world: World, till: Till
    ) -> None:
        poor = Till(
            world, Money(credits_per_yuan=10, signup_bonus=0, referral_bonus_referrer=50, referral_bonus_newcomer=0)
        )
        await poor.recharge("ann")
        assert bonuses(world) == [("bob", 50)]
        assert len(world.all_of(ReferralRewarded)) == 1


class TestWhoIsNotThere:
    async def test_a_stranger_cannot_pay(self, world: World, till: Till) -> None:
        before = len(world.entries)
        with pytest.raises(PersonUnknown):
            await till.recharge("nobody")
        assert len(world.entries) == before

    async def test_the_erased_cannot_pay(self, world: World, till: Till) -> None:
        await world.journal.transact(lambda transaction: transaction.execute(REGISTRATION, "ann", Erase()), actor="ann")
        with pytest.raises(PersonUnknown):
            await till.recharge("ann")
        assert world.all_of(RechargePaid) == []
