"""Months of random traffic on some people's credits, through the real journal, and a naive replay of it.

The replay knows nothing of postings: it adds up, event by event, what each report should say.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias
from uuid import uuid4

import psycopg

from mintage.application.reports import Report, Reports
from mintage.application.transaction import Transaction, Work
from mintage.domain.credits.account import CreditAccount
from mintage.domain.credits.decider import (
    CREDITS,
    CaptureHold,
    ClawBack,
    ConsumeCredits,
    CreditCommand,
    ExpireCredits,
    GrantCredits,
    HoldCredits,
    ReleaseHold,
    RemoveCredits,
    ReverseSpending,
)
from mintage.domain.credits.events import (
    CreditsClawedBack,
    CreditsConsumed,
    CreditsExpired,
    CreditsGranted,
    CreditsHeld,
    CreditsRemoved,
    DebtPaid,
    HoldCaptured,
    HoldReleased,
    SpendingReversed,
    Terms,
)
from mintage.domain.decider import Refusal
from mintage.domain.recorded import Recorded
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.freshness import BroughtUp
from tests.conftest import TEMPLATE, VAULT, on_database
from tests.infra.kit import journal_on, of, outcomes, some_id

BEGIN: Final = datetime(2025, 1, 30, 21, 17, 3, 141_592, tzinfo=UTC)
GATEWAYS: Final = ("wechat", "alipay", "stripe")
PRODUCTS: Final = ("stability/stable-diffusion-xl", "kling/v1_6", "0/größe")
DESCRIPTIONS: Final = (
    "文生图 ×3",
    "=HYPERLINK(0)",
    "+1",
    "-2",
    "@x",
    "'quoted'",
    'a "b", c',
    "two\nlines",
    "＝1",
    "plain",
)


class Traffic:
    """Random commands for some people; what was spent is remembered, so that it can be reversed."""

    def __init__(self, seed: int, people: Sequence[str]) -> None:
        self._random = Random(seed)
        self._people = people
        self._spent: list[tuple[str, CreditsConsumed | HoldCaptured]] = []
        self._orders: list[tuple[str, CreditsGranted]] = []
        self._terms: dict[str, dict[int, Terms]] = defaultdict(dict)
        self.events = 0

    def seen(self, entries: Sequence[Recorded]) -> None:
        self.events += len(entries)
        for entry in entries:
            match entry.event:
                case CreditsConsumed() | HoldCaptured() as event:
                    self._spent.append((entry.key, event))
                case CreditsGranted() as event:
                    terms = Terms(event.amount, event.paid_fen, event.expires_at, event.priority, event.reference)
                    self._terms[entry.key][event.lot] = terms
                    if event.paid_fen:
                        self._orders.append((entry.key, event))

    def work(self) -> Work[None]:
        choose = Random(self._random.getrandbits(64))
        if self._spent and choose.random() < 0.08:
            return self._reverse(choose)
        if self._orders and choose.random() < 0.04:
            return self._claw_back(choose)
        user_id, roll, ident = choose.choice(self._people), choose.random(), some_id()
        description, amount = (
            choose.choice(DESCRIPTIONS),
            choose.choice((choose.randint(1, 20), choose.randint(1, 200))),
        )

        def command(account: CreditAccount, now: datetime) -> CreditCommand:
            if roll < 0.14:
                return self._grant(Random(roll), ident, description, now)
            if roll < 0.3:
                return ReleaseHold(hold_id=min(account.holds, default=""), reason="failed", now=now)
            if roll < 0.45:
                hold_id = max(account.holds, default="")
                held = sum(lot.amount for lot in account.holds[hold_id].lots) if hold_id else 1
                return CaptureHold(
                    hold_id=hold_id, transaction_id=ident, amount=min(amount, held), description=description, now=now
                )
            if roll < 0.65:
                product = PRODUCTS[amount % len(PRODUCTS)]
                return HoldCredits(hold_id=ident, amount=amount, description=description, product=product, now=now)
            if roll < 0.68:
                return RemoveCredits(
                    transaction_id=ident, amount=amount, description=description, reference=some_id(), now=now
                )
            if roll < 0.75:
                return ExpireCredits(now=now)
            return ConsumeCredits(transaction_id=ident, amount=amount, description=description, now=now)

        def work(transaction: Transaction) -> None:
            account = transaction.state(CREDITS, user_id)
            transaction.execute(CREDITS, user_id, command(account, transaction.now))

        return work

    def _grant(self, choose: Random, ident: str, description: str, now: datetime) -> GrantCredits:
        paid = choose.choice((0, 0, choose.randint(1, 9_999)))
        return GrantCredits(
            transaction_id=ident,
            amount=choose.randint(1, 200),
            source="recharge" if paid else "referral_bonus",
            description=description,
            now=now,
            paid_fen=paid,
            payment_method=choose.choice(GATEWAYS) if paid else None,
            expires_at=now + timedelta(hours=choose.randint(1, 500)) if choose.random() < 0.5 else None,
            priority=choose.choice((0, 50, 50, 100)),
            reference=ident if paid else None,
        )

    def _reverse(self, choose: Random) -> Work[None]:
        user_id, spent = choose.choice(self._spent)
        transaction_id = some_id()
        return lambda transaction: _done(
            transaction.execute(
                CREDITS,
                user_id,
                ReverseSpending(
                    transaction_id=transaction_id,
                    spent=spent,
                    terms=self._terms[user_id],
                    description="退还",
                    now=transaction.now,
                ),
            )
        )

    def _claw_back(self, choose: Random) -> Work[None]:
        user_id, order = self._orders.pop(choose.randrange(len(self._orders)))
        assert order.payment_method is not None
        whole = choose.random() < 0.5
        amount, fen = (order.amount, order.paid_fen) if whole else (1 + order.amount // 2, 1 + order.paid_fen // 2)
        method, transaction_id, reference = order.payment_method, some_id(), some_id()
        return lambda transaction: _done(
            transaction.execute(
                CREDITS,
                user_id,
                ClawBack(
                    transaction_id=transaction_id,
                    recharge_id=order.reference or "",
                    reference=reference,
                    reason="chargeback",
                    amount=min(amount, order.amount),
                    refunded_fen=min(fen, order.paid_fen),
                    payment_method=method,
                    description="充值退款",
                    now=transaction.now,
                ),
            )
        )


def _done(_: Any) -> None:
    return None


async def months(conninfo: str, seed: int, events: int, people: int = 12) -> list[str]:
    """Put at least so many events into the log of a database; brings the ids of the people."""
    ids, choose = [some_id() for _ in range(people)], Random(seed)
    traffic, now = Traffic(seed, ids), BEGIN
    async with journal_on(conninfo, clock=lambda: now, seen=traffic.seen) as journal:
        while traffic.events < events:
            now += timedelta(microseconds=choose.choice((1, 7 * 10**8, 3 * 10**10)))
            results = await outcomes([traffic.work() for _ in range(choose.randint(1, 24))], journal)
            failed = [result for result in of(Exception, results) if not isinstance(result, Refusal)]
            assert not failed, failed
    return ids


@contextmanager
def months_in(postgres: EmbeddedPostgres, seed: int, events: int) -> Iterator[str]:
    """A database with such traffic in it, for tests that only read."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.conninfo, autocommit=True) as connection:
        connection.execute(f"create database {name} template {TEMPLATE}")
        conninfo = on_database(postgres.conninfo, name)
        try:
            asyncio.run(months(conninfo, seed, events))
            yield conninfo
        finally:
            connection.execute(f"drop database {name} with (force)")


@asynccontextmanager
async def reports_on(conninfo: str) -> AsyncIterator[Reports]:
    """The reports of a database that nobody serves."""
    db = Pool(conninfo)
    await db.open()
    try:
        yield Reports(db, BroughtUp(db, conninfo, VAULT), utc_now)
    finally:
        await db.close()


async def lines(report: Report) -> list[Any]:
    return [row for page in [page async for page in report.rows] for row in page]


# -- the naive replay

Key: TypeAlias = tuple[date, str | None]


class Replayed:
    """What every report says of the events it was given."""

    def __init__(self, log: Iterable[Recorded]) -> None:
        self.position = 0
        self.people: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.history: dict[str, list[tuple[Recorded, tuple[int, ...]]]] = defaultdict(list)
        self.deferred: Counter[str] = Counter()
        self.revenue: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
        self.breakage: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self.receivable: Counter[str] = Counter()
        self.holds: dict[str, tuple[Recorded, CreditsHeld]] = {}
        self.sold = self.given = 0
        for entry in log:
            self._feed(entry)
            self.position = entry.position
            self.history[entry.key].append((entry, tuple(self.people[entry.key])))

    def _feed(self, entry: Recorded) -> None:
        who, day = entry.key, entry.at.date()
        balances = self.people[who]
        match entry.event:
            case CreditsGranted(amount=amount) as event:
                balances[0] += amount
                if event.paid_fen:
                    self.sold += amount
                    self.deferred[who] += event.paid_fen
                    self.receivable[str(event.payment_method)] += event.paid_fen
                else:
                    self.given += amount
            case CreditsConsumed(amount=amount) as event:
                balances[0] -= amount
                self._earn(who, (day, None), amount, fen(event.taken))
            case CreditsHeld(amount=amount) as event:
                balances[0] -= amount
                balances[1] += amount
                self.holds[event.hold_id] = entry, event
            case HoldCaptured(amount=amount) as event:
                whole = self.holds.pop(event.hold_id)[1].amount
                balances[1] -= whole
                balances[0] += whole - amount
                self._earn(who, (day, event.product), amount, fen(event.taken))
            case HoldReleased() as event:
                whole = self.holds.pop(event.hold_id)[1].amount
                balances[1] -= whole
                balances[0] += whole
            case CreditsExpired(amount=amount) as event:
                balances[0] -= amount
                self._lose(who, day, 0, amount, event.fen)
            case CreditsRemoved(amount=amount) as event:
                balances[0] -= amount
                self._lose(who, day, 2, amount, fen(event.taken))
            case SpendingReversed(amount=amount) as event:
                balances[0] += amount
                self._earn(who, (day, event.product), -amount, -fen(event.returned))
            case CreditsClawedBack() as event:
                balances[0] -= sum(part.amount for part in event.taken)
                balances[2] += event.owed
                self.sold -= event.amount
                self.receivable[event.payment_method] -= event.refunded_fen
                self.deferred[who] -= fen(event.taken)
                self.revenue[day, None][1] -= event.refunded_fen - fen(event.taken)
            case DebtPaid(amount=amount) as event:
                balances[0] -= amount
                balances[2] -= amount
                self._earn(who, (day, None), 0, fen(event.taken))

    def _earn(self, who: str, key: Key, amount: int, money: int) -> None:
        self.revenue[key][0] += amount
        self.revenue[key][1] += money
        self.deferred[who] -= money

    def _lose(self, who: str, day: date, column: int, amount: int, money: int) -> None:
        self.breakage[day][column] += amount
        self.breakage[day][column + 1] += money
        self.deferred[who] -= money


def fen(parts: Iterable[Any]) -> int:
    return sum(part.fen for part in parts)
