"""A request repeated with its Idempotency-Key has one effect and one reply."""

import asyncio

import pytest

from mintage.application.ledger import Consumption, Ledger
from mintage.application.once import KeyReused, Repeatable, finish
from mintage.application.records import Receipt
from mintage.domain.credits.decider import InsufficientCredits
from mintage.domain.credits.events import CreditsConsumed
from tests.application.world import NOW, World

ASKED = Repeatable("ann", "/consume", "key-1", b"digest")
OTHER_BODY = Repeatable("ann", "/consume", "key-1", b"another digest")


def render(outcome: Consumption) -> bytes:
    return f"{outcome.transaction_id}:{outcome.new_balance}".encode()


class Shop:
    def __init__(self, world: World) -> None:
        self.ledger = Ledger(world.journal, world.new_id)

    async def consume(self, amount: int, asked: Repeatable | None, user_id: str = "ann") -> bytes:
        reply = await self.ledger.consume(user_id, amount, "a picture", render=render, repeatable=asked)
        assert reply.body is not None
        assert (reply.outcome is None) == (reply.receipt is not None), "fresh, or the receipt of the first time"
        return reply.body


@pytest.fixture
async def shop(world: World) -> Shop:
    await world.grant("ann", 10)
    return Shop(world)


def spent(world: World) -> list[int]:
    return [event.amount for event in world.all_of(CreditsConsumed)]


async def test_the_same_key_and_body_get_the_same_bytes_and_spend_once(world: World, shop: Shop) -> None:
    first = await shop.consume(4, ASKED)
    assert [await shop.consume(4, ASKED) for _ in range(3)] == [first] * 3
    assert spent(world) == [4]


async def test_a_repeat_gets_the_first_reply_even_if_the_balance_has_changed_since(world: World, shop: Shop) -> None:
    first = await shop.consume(4, ASKED)
    await shop.consume(6, None)
    assert await shop.consume(4, ASKED) == first
    assert spent(world) == [4, 6]


async def test_the_same_key_with_another_body_is_refused(world: World, shop: Shop) -> None:
    first = await shop.consume(4, ASKED)
    with pytest.raises(KeyReused):
        await shop.consume(5, OTHER_BODY)
    assert await shop.consume(4, ASKED) == first
    assert spent(world) == [4]


async def test_a_refused_request_binds_nothing_to_its_key(world: World, shop: Shop) -> None:
    with pytest.raises(InsufficientCredits):
        await shop.consume(11, ASKED)
    assert world.receipt(ASKED) is None
    await shop.consume(3, OTHER_BODY)
    assert spent(world) == [3]


async def test_a_refused_request_may_be_tried_again_under_its_key(world: World, shop: Shop) -> None:
    with pytest.raises(InsufficientCredits):
        await shop.consume(11, ASKED)
    await world.grant("ann", 5)
    first = await shop.consume(11, ASKED)
    assert await shop.consume(11, ASKED) == first
    assert spent(world) == [11]


async def test_the_same_key_twice_in_one_batch_spends_once(world: World, shop: Shop) -> None:
    world.batches.clear()
    replies = await asyncio.gather(*(shop.consume(4, ASKED) for _ in range(5)))
    assert len(set(replies)) == 1
    assert spent(world) == [4]
    assert [len(batch) for batch in world.batches] == [1]


async def test_the_same_key_with_two_bodies_in_one_batch_belongs_to_the_first(world: World, shop: Shop) -> None:
    first, second = await asyncio.gather(shop.consume(4, ASKED), shop.consume(5, OTHER_BODY), return_exceptions=True)
    assert isinstance(first, bytes)
    assert isinstance(second, KeyReused)
    assert spent(world) == [4]


async def test_in_one_batch_a_key_stays_free_when_its_first_request_is_refused(world: World, shop: Shop) -> None:
    refused, accepted = await asyncio.gather(
        shop.consume(11, ASKED), shop.consume(5, OTHER_BODY), return_exceptions=True
    )
    assert isinstance(refused, InsufficientCredits)
    assert isinstance(accepted, bytes)
    assert spent(world) == [5]


async def test_a_key_belongs_to_one_person_and_one_path(world: World, shop: Shop) -> None:
    await world.grant("bob", 10)
    await shop.consume(1, ASKED)
    await shop.consume(2, Repeatable("ann", "/elsewhere", "key-1", b"another digest"))
    await shop.consume(3, Repeatable("bob", "/consume", "key-1", b"another digest"), "bob")
    await shop.consume(4, Repeatable("ann", "/consume", "key-2", b"digest"))
    assert spent(world) == [1, 2, 3, 4]


async def test_without_a_key_every_request_counts(world: World, shop: Shop) -> None:
    await shop.consume(4, None)
    await shop.consume(4, None)
    assert spent(world) == [4, 4]


async def test_another_process_knows_the_key_too(world: World, shop: Shop) -> None:
    first = await shop.consume(4, ASKED)
    async with World(world.log, "other") as other:
        assert await Shop(other).consume(4, ASKED) == first
    assert spent(world) == [4]


async def test_the_receipt_says_what_was_asked_and_answered_and_when(world: World, shop: Shop) -> None:
    body = await shop.consume(4, ASKED)
    assert world.receipt(ASKED) == Receipt("ann", "/consume", "key-1", b"digest", NOW, body, None)


class TestFinishing:
    """The final reply to a request whose first reply was not final."""

    async def test_the_first_final_reply_stands(self, world: World, shop: Shop) -> None:
        world.log.receipts[("ann", "/make", "key-1")] = Receipt("ann", "/make", "key-1", b"digest", NOW, None, "task-1")
        asked = Repeatable("ann", "/make", "key-1", b"digest")
        assert await world.journal.transact(finish(asked, b"first"), actor="ann") == b"first"
        assert await world.journal.transact(finish(asked, b"second"), actor="ann") == b"first"
        assert world.receipt(asked) == Receipt("ann", "/make", "key-1", b"digest", NOW, b"first", "task-1")

    async def test_two_final_replies_in_one_batch_are_one(self, world: World, shop: Shop) -> None:
        world.log.receipts[("ann", "/make", "key-1")] = Receipt("ann", "/make", "key-1", b"digest", NOW, None, "task-1")
        asked = Repeatable("ann", "/make", "key-1", b"digest")
        finals = (world.journal.transact(finish(asked, body), actor="ann") for body in (b"first", b"second"))
        assert await asyncio.gather(*finals) == [b"first", b"first"]

    async def test_what_was_never_asked_is_not_kept(self, world: World, shop: Shop) -> None:
        asked = Repeatable("ann", "/make", "key-1", b"digest")
        assert await world.journal.transact(finish(asked, b"body"), actor="ann") == b"body"
        assert world.receipt(asked) is None
