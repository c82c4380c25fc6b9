"""A log in memory under the real journal, and short ways to ask what happened."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

from mintage.application.once import Repeatable
from mintage.application.records import Receipt
from mintage.application.transaction import Transaction, Work
from mintage.domain.catalogue import AnyEvent, decider_of
from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import CREDITS, GrantCredits
from mintage.domain.decider import Event
from mintage.domain.recorded import Recorded
from mintage.domain.registration.decider import REGISTRATION, Register
from mintage.infra.codec import opened, owner_of
from mintage.infra.journal import JournalLimits, PostgresJournal
from mintage.infra.memory_store import MemoryLog, MemoryStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EventT = TypeVar("EventT", bound=Event)


def ids() -> Callable[[], str]:
    """Ids that count up, so that a test knows them beforehand."""
    numbers = count(1)
    return lambda: str(UUID(int=next(numbers)))


class World:
    """Used as ``async with``; several may share one log, as several processes share a database."""

    def __init__(self, log: MemoryLog | None = None, name: str = "command") -> None:
        self.log = log or MemoryLog()
        self.now = NOW
        self.batches: list[Sequence[Recorded]] = []
        self.new_id = ids()
        command_ids = ids()
        self.journal = PostgresJournal(
            MemoryStore(self.log),
            clock=lambda: self.now,
            new_id=lambda: f"{name}-{command_ids()}",
            limits=JournalLimits(whole_max=500),
            seen=self.batches.append,
        )

    async def __aenter__(self) -> Self:
        await self.journal.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.journal.drain()
        if error is None:
            self._check()

    def _check(self) -> None:
        """Positions and versions count from 1 without a gap."""
        assert [entry.position for entry in self.entries] == list(range(1, len(self.entries) + 1))
        reached: Counter[str] = Counter()
        for entry in self.entries:
            reached[entry.stream] += 1
            assert entry.version == reached[entry.stream], entry

    async def register(self, user_id: str, *, having: int = 0, referred_by: str | None = None) -> None:
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
        if having:
            await self.grant(user_id, having)

    async def grant(self, user_id: str, amount: int, expires_at: datetime | None = None) -> None:
        await self.journal.transact(granting(user_id, amount, self.new_id(), expires_at), actor="system")

    @property
    def entries(self) -> list[Recorded]:
        """The whole log, personal fields opened as far as their owners are still there."""
        sealed = self.log.read(0, 10_000)
        return [opened(entry, self.log.keys.get(owner)) if (owner := owner_of(entry)) else entry for entry in sealed]

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


def granting(
    user_id: str, amount: int, transaction_id: str = "grant", expires_at: datetime | None = None
) -> Work[CreditAccount]:
    def work(transaction: Transaction) -> CreditAccount:
        command = GrantCredits(
            transaction_id=transaction_id,
            amount=amount,
            source="adjustment",
            description="test",
            now=transaction.now,
            expires_at=expires_at,
        )
        return transaction.execute(CREDITS, user_id, command)

    return work


def asked(key: str = "key-1", *, user_id: str = "ann", path: str = "/consume", body: bytes = b"body") -> Repeatable:
    return Repeatable(user_id, path, key, body)
