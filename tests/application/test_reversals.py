"""What was spent is given back once, to the lots it came from, by somebody else than whose account it is."""

import asyncio
from datetime import timedelta

import pytest

from mintage.application.ledger import Ledger
from mintage.application.refusals import NotReversible, TransactionUnknown
from mintage.application.reversals import Reversal, Reversals, Spending
from mintage.domain.adjustment.decider import OwnAccount
from mintage.domain.credits.decider import AlreadyReversed
from mintage.domain.credits.events import (
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    HoldCaptured,
    Lot,
    SpendingReversed,
    Terms,
)
from mintage.domain.fields import InvalidFields
from tests.application.world import NOW, World, asked


class ReadSpendings:
    """Implements ``application.reversals.Spendings`` by reading the whole log."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def find(self, transaction_id: str) -> Spending | None:
        terms: dict[int, Terms] = {}
        for entry in self._world.entries:
            match entry.event:
                case CreditsGranted() as event:
                    terms[event.lot] = Terms(event.amount, event.paid_fen, event.expires_at, event.priority)
            if getattr(entry.event, "transaction_id", None) == transaction_id:
                spent = entry.event if isinstance(entry.event, CreditsConsumed | HoldCaptured) else None
                return Spending(entry.key, spent, terms)
        return None


@pytest.fixture
def reversals(world: World) -> Reversals:
    return Reversals(world.journal, ReadSpendings(world), world.new_id)


def render(outcome: Reversal) -> bytes:
    return f"{outcome.transaction_id}:{outcome.new_balance}".encode()


async def spend(world: World, amount: int = 5) -> str:
    reply = await Ledger(world.journal, world.new_id).consume("ann", amount, "a picture", render=lambda _: b"")
    assert reply.outcome is not None
    return reply.outcome.transaction_id


async def test_what_was_consumed_comes_back_to_its_lot(world: World, reversals: Reversals) -> None:
    await world.grant("ann", 10, NOW + timedelta(days=1))
    await world.grant("ann", 10)
    spent = await spend(world, 15)
    reply = await reversals.reverse(spent, "没有生成", actor="fay", render=render)
    assert reply.outcome is not None
    assert reply.outcome == Reversal(reply.outcome.transaction_id, spent, "ann", 15, 20)
    assert world.events("credits-ann")[-1] == SpendingReversed(
        transaction_id=reply.outcome.transaction_id,
        reverses=spent,
        amount=15,
        description="退回已消费的15积分：没有生成",
        returned=(Lot(1, 10, 0, Terms(10, expires_at=NOW + timedelta(days=1))), Lot(2, 5, 0, Terms(10))),
    )
    assert world.entries[-1].actor == "fay"
    assert [lot.amount for lot in world.account("ann").lots] == [10, 10]


async def test_what_comes_back_past_its_date_expires_at_once(world: World, reversals: Reversals) -> None:
    await world.grant("ann", 10, NOW + timedelta(days=1))
    spent = await spend(world, 4)
    world.now = NOW + timedelta(days=2)
    await reversals.reverse(spent, "x", actor="fay", render=render)
    assert world.account("ann").available == 0
    assert [event.amount for event in world.all_of(CreditsExpired)] == [10]


async def test_a_transaction_is_given_back_once_however_many_ask(world: World, reversals: Reversals) -> None:
    await world.grant("ann", 10)
    spent = await spend(world)
    calls = (reversals.reverse(spent, "x", actor=person, render=render) for person in ("fay", "gus", "hal"))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(result, AlreadyReversed) for result in results) == 2
    assert world.account("ann").available == 10


async def test_a_repeat_with_its_key_gets_the_first_reply(world: World, reversals: Reversals) -> None:
    await world.grant("ann", 10)
    spent = await spend(world)
    key = asked(user_id="fay", path="/reverse")
    first = await reversals.reverse(spent, "x", actor="fay", render=render, repeatable=key)
    again = await reversals.reverse(spent, "x", actor="fay", render=render, repeatable=key)
    assert first.body == again.body
    assert world.account("ann").available == 10


async def test_only_what_was_spent_is_given_back(world: World, reversals: Reversals) -> None:
    await world.grant("ann", 10)
    (granted,) = world.all_of(CreditsGranted)
    with pytest.raises(NotReversible):
        await reversals.reverse(granted.transaction_id, "x", actor="fay", render=render)
    spent = await spend(world)
    reply = await reversals.reverse(spent, "x", actor="fay", render=render)
    assert reply.outcome is not None
    with pytest.raises(NotReversible):
        await reversals.reverse(reply.outcome.transaction_id, "x", actor="fay", render=render)


async def test_what_is_refused_leaves_no_trace(world: World, reversals: Reversals) -> None:
    await world.grant("ann", 10)
    spent = await spend(world)
    before = len(world.entries)
    with pytest.raises(TransactionUnknown):
        await reversals.reverse("nothing", "x", actor="fay", render=render)
    with pytest.raises(OwnAccount):
        await reversals.reverse(spent, "x", actor="ann", render=render)
    with pytest.raises(InvalidFields):
        await reversals.reverse(spent, " ", actor="fay", render=render)
    assert len(world.entries) == before
