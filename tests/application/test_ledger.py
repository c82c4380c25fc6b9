"""Spending credits through the journal: durable, in order, refused whole."""

import asyncio
from datetime import timedelta

import pytest

from mintage.application.ledger import Consumption, Ledger
from mintage.application.transaction import Unavailable
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.credits.events import CreditsConsumed, CreditsExpired, Slice
from tests.application.world import NOW, World


@pytest.fixture
def ledger(world: World) -> Ledger:
    return Ledger(world.journal, world.new_id)


def render(outcome: Consumption) -> bytes:
    return f"{outcome.transaction_id}:{outcome.new_balance}".encode()


async def test_spending_answers_with_the_new_balance_and_is_in_the_log(world: World, ledger: Ledger) -> None:
    await world.grant("ann", 10)
    reply = await ledger.consume("ann", 4, "a picture", render=render)
    assert reply.outcome is not None
    transaction_id = reply.outcome.transaction_id
    assert reply.outcome == Consumption(transaction_id, 6)
    assert reply.body == f"{transaction_id}:6".encode()
    assert reply.receipt is None
    assert world.events("credits-ann")[1:] == [
        CreditsConsumed(transaction_id=transaction_id, amount=4, description="a picture", taken=(Slice(1, 4),))
    ]


async def test_the_log_says_who_and_when(world: World, ledger: Ledger) -> None:
    await world.grant("ann", 10)
    world.now = NOW + timedelta(hours=1)
    await ledger.consume("ann", 4, "a picture", render=render)
    granted, consumed = world.entries
    assert (granted.actor, granted.at) == ("system", NOW)
    assert (consumed.actor, consumed.at) == ("ann", NOW + timedelta(hours=1))
    assert granted.command_id != consumed.command_id


async def test_the_logs_time_never_runs_backwards(world: World, ledger: Ledger) -> None:
    await world.grant("ann", 10)
    world.now = NOW - timedelta(hours=1)
    await ledger.consume("ann", 4, "a picture", render=render)
    assert [entry.at for entry in world.entries] == [NOW, NOW]


async def test_what_is_refused_leaves_no_trace(world: World, ledger: Ledger) -> None:
    await world.grant("ann", 3)
    with pytest.raises(InsufficientCredits) as refused:
        await ledger.consume("ann", 4, "a picture", render=render)
    assert (refused.value.required, refused.value.available) == (4, 3)
    assert len(world.entries) == 1


async def test_who_never_had_credits_is_refused(world: World, ledger: Ledger) -> None:
    with pytest.raises(InsufficientCredits):
        await ledger.consume("nobody", 1, "a picture", render=render)
    assert world.entries == []


async def test_expired_credits_go_in_the_same_transaction_and_not_into_the_balance(
    world: World, ledger: Ledger
) -> None:
    await world.grant("ann", 5, expires_at=NOW + timedelta(days=1))
    await world.grant("ann", 5)
    world.now = NOW + timedelta(days=1)
    reply = await ledger.consume("ann", 4, "a picture", render=render)
    assert reply.outcome is not None
    assert reply.outcome.new_balance == 1
    *_, expired, consumed = world.entries
    assert (type(expired.event), type(consumed.event)) == (CreditsExpired, CreditsConsumed)
    assert expired.command_id == consumed.command_id


async def test_a_hundred_debits_at_once_are_one_batch_with_a_hundred_right_balances(
    world: World, ledger: Ledger
) -> None:
    await world.grant("ann", 150)
    world.batches.clear()
    replies = await asyncio.gather(*(ledger.consume("ann", 1, "a picture", render=render) for _ in range(100)))
    assert [reply.outcome.new_balance for reply in replies if reply.outcome] == list(range(149, 49, -1))
    assert [len(batch) for batch in world.batches] == [100]
    assert len({entry.command_id for entry in world.entries}) == 101
    assert world.account("ann").available == 50


async def test_of_more_debits_than_the_account_can_pay_just_enough_are_accepted(world: World, ledger: Ledger) -> None:
    await world.grant("ann", 10)
    debits = (ledger.consume("ann", 3, "a picture", render=render) for _ in range(8))
    replies = await asyncio.gather(*debits, return_exceptions=True)
    assert [type(reply).__name__ for reply in replies] == ["Reply"] * 3 + ["InsufficientCredits"] * 5
    assert world.account("ann").available == 1


async def test_a_refused_debit_hurts_nobody_else_in_its_batch(world: World, ledger: Ledger) -> None:
    await world.grant("ann", 1)
    await world.grant("bob", 1)
    poor, rich = await asyncio.gather(
        ledger.consume("ann", 2, "a picture", render=render),
        ledger.consume("bob", 1, "a picture", render=render),
        return_exceptions=True,
    )
    assert isinstance(poor, InsufficientCredits)
    assert not isinstance(rich, BaseException)
    assert world.account("bob").available == 0


async def test_two_processes_on_one_log_never_overspend(world: World, ledger: Ledger) -> None:
    await world.grant("ann", 10)
    async with World(world.log, "other") as other:
        elsewhere = Ledger(other.journal, other.new_id)
        shops = [ledger, elsewhere] * 10
        debits = (shop.consume("ann", 1, "a picture", render=render) for shop in shops)
        replies = await asyncio.gather(*debits, return_exceptions=True)
    assert sum(isinstance(reply, InsufficientCredits) for reply in replies) == 10
    assert world.account("ann").available == 0
    assert len(world.all_of(CreditsConsumed)) == 10


async def test_nothing_is_taken_any_more_once_the_journal_drains(world: World) -> None:
    await world.grant("ann", 10)
    async with World(world.log, "leaving") as leaving:
        ledger = Ledger(leaving.journal, leaving.new_id)
        last = asyncio.ensure_future(ledger.consume("ann", 1, "a picture", render=render))
        await asyncio.sleep(0)
    assert (await last).body is not None
    with pytest.raises(Unavailable):
        await ledger.consume("ann", 1, "a picture", render=render)
    assert world.account("ann").available == 9
