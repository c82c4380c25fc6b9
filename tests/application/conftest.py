"""The use cases on the real journal over the log in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import TypeVar
from uuid import UUID

import pytest

from mintage.application.once import Repeatable
from mintage.application.records import Receipt
from mintage.application.transaction import Transaction
from mintage.domain.catalogue import AnyEvent, decider_of
from mintage.domain.credits.decider import CREDITS, CreditAccount, GrantCredits
from mintage.domain.decider import Event
from mintage.domain.recorded import Recorded
from mintage.domain.registration.decider import REGISTRATION, Register
from mintage.infra.codec import opened, owner_of
from mintage.infra.journal import PostgresJournal
from mintage.infra.memory_store import MemoryLog, MemoryStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EventT = TypeVar("EventT", bound=Event)


def ids() -> Callable[[], str]:
    """Ids that count up, so that a test knows them beforehand."""
    numbers = count(1)
    return lambda: str(UUID(int=next(numbers)))


class World:
    """A log, its journal, and short ways to ask what happened."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.now = NOW
        self.batches: list[Sequence[Recorded]] = []
        self.new_id = ids()
        command_ids = ids()
        self.journal = PostgresJournal(
            MemoryStore(self.log),
            clock=lambda: self.now,
            new_id=lambda: f"command-{command_ids()}",
            seen=self.batches.append,
        )

    async def register(self, user_id: str, *, credits: int = 0, referred_by: str | None = None) -> None:
        def work(transaction: Transaction) -> None:
            number = transaction.number("user")
            command = Register(
                user_id=user_id,
                number=number,
                document="v1",
                username=user_id,
                referral_code=f"CODE{number:04}",
                referred_by=referred_by,
            )
            transaction.begin(REGISTRATION, user_id, command)

        await self.journal.transact(work, actor=user_id)
        if credits:
            await self.grant(user_id, credits)

    async def grant(self, user_id: str, amount: int, expires_at: datetime | None = None) -> None:
        command = GrantCredits(
            transaction_id=self.new_id(),
            amount=amount,
            source="adjustment",
            description="test",
            expires_at=expires_at,
        )
        await self.journal.transact(
            lambda transaction: transaction.execute(CREDITS, user_id, command), actor="system"
        )

    @property
    def entries(self) -> list[Recorded]:
        """The whole log, personal fields opened."""
        sealed = self.log.read(0, 10_000)
        return [opened(entry, self.log.keys[owner]) if (owner := owner_of(entry)) else entry for entry in sealed]

    def events(self, stream: str) -> list[AnyEvent]:
        return [entry.event for entry in self.entries if entry.stream == stream]

    def all_of(self, kind: type[EventT]) -> list[EventT]:
        return [entry.event for entry in self.entries if isinstance(entry.event, kind)]

    def account(self, user_id: str) -> CreditAccount:
        """The account as replayed from the log."""
        state = decider_of(f"credits-{user_id}").fold(CREDITS.initial, self.events(f"credits-{user_id}"))
        assert isinstance(state, CreditAccount)
        return state

    def receipt(self, asked: Repeatable) -> Receipt | None:
        return self.log.receipts.get((asked.user_id, asked.path, asked.key))


def asked(key: str = "key-1", *, user_id: str = "ann", path: str = "/consume", body: bytes = b"body") -> Repeatable:
    return Repeatable(user_id, path, key, body)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.journal.start()
    yield world
    await world.journal.drain()
    streams = {entry.stream for entry in world.entries}
    for stream in streams:
        versions = [entry.version for entry in world.entries if entry.stream == stream]
        assert versions == list(range(1, len(versions) + 1))
    assert [entry.position for entry in world.entries] == list(range(1, len(world.entries) + 1))
