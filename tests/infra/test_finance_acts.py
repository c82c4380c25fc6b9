"""What finance does, done twice at once from two processes, takes effect once; the rows say what the log says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest

from mintage.application.adjustments import Adjustments, Wish
from mintage.application.recharges import Recharges
from mintage.application.reversals import Reversals, Spending
from mintage.domain.adjustment.decider import AdjustmentDecided
from mintage.domain.credits.decider import AlreadyReversed
from mintage.domain.credits.events import CreditsClawedBack, CreditsConsumed, CreditsGranted, SpendingReversed, Terms
from mintage.domain.recharge.decider import RecordRefund, RefundUsed
from mintage.infra.database import Pool
from mintage.infra.gateways import SandboxGateway
from mintage.infra.identifiers import new_id
from mintage.infra.rebuild import rebuild
from mintage.infra.spendings import LoggedSpendings
from mintage.projections import READ_MODELS
from tests.conftest import VAULT
from tests.infra.kit import (
    CATALOGUE,
    account,
    consume,
    grant,
    journal_on,
    of,
    one,
    register,
    rows,
    run_sql,
    some_id,
    the_log,
)


class Office:
    """Finance at one of the processes that share a database."""

    def __init__(self, db: Pool, journal: Any) -> None:
        self.journal = journal
        self.adjustments = Adjustments(journal, new_id, 10)
        self.reversals = Reversals(journal, LoggedSpendings(db), new_id)
        self.recharges = Recharges(journal, SandboxGateway(), CATALOGUE.money, new_id)

    async def reverse(self, transaction_id: str) -> Any:
        return await self.reversals.reverse(transaction_id, "x", actor="fay", render=lambda _: b"")

    async def refund(self, order: str, amount_fen: int, reference: str) -> Any:
        command = RecordRefund(refund_reference=reference, amount_fen=amount_fen, reason="refund")
        return await self.recharges.refund(order, command, actor="fay", render=lambda _: b"")

    async def sell(self, user_id: str, yuan: int = 10) -> None:
        await self.recharges.recharge(user_id, yuan, "alipay", render=lambda _: b"")


@asynccontextmanager
async def office_on(conninfo: str) -> AsyncIterator[Office]:
    db = Pool(conninfo)
    await db.open()
    try:
        async with journal_on(conninfo) as journal:
            yield Office(db, journal)
    finally:
        await db.close()


@pytest.fixture
async def offices(conninfo: str) -> AsyncIterator[tuple[Office, Office]]:
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(office_on(conninfo)),
            await stack.enter_async_context(office_on(conninfo)),
        )


async def somebody(office: Office, amount: int = 100) -> str:
    user_id = some_id()
    await office.journal.transact(register(user_id, f"u{user_id[-12:]}"), actor=user_id)
    await office.journal.transact(grant(user_id, amount), actor="test")
    return user_id


def newest_order(conninfo: str) -> str:
    return str(one(conninfo, "select recharge_id::text from recharges order by created_at desc limit 1"))


async def test_a_reversal_by_two_processes_at_once(conninfo: str, offices: tuple[Office, Office]) -> None:
    ann, spent = await somebody(offices[0]), some_id()
    await offices[0].journal.transact(consume(ann, 30, transaction_id=spent), actor=ann)
    calls = [office.reverse(spent) for _ in range(5) for office in offices]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert len(of(AlreadyReversed, results)) == 9
    assert sum(isinstance(entry.event, SpendingReversed) for entry in the_log(conninfo)) == 1
    assert account(conninfo, ann) == (100, 0)
    reversed_by = "select reverses::text, type, kind, amount from transactions where reverses is not null"
    assert rows(conninfo, reversed_by) == [(spent, "recharge", "reversal", 30)]


async def test_an_approval_by_two_processes_at_once(conninfo: str, offices: tuple[Office, Office]) -> None:
    ann = await somebody(offices[0])
    pending = (await offices[0].adjustments.request(Wish(user_id=ann, amount=50, reason="x"), actor="fay")).outcome
    assert pending is not None
    calls = [office.adjustments.approve(pending.adjustment_id, actor=f"p{n}") for n in range(5) for office in offices]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert len(of(AdjustmentDecided, results)) == 9
    assert account(conninfo, ann) == (150, 0)
    (row,) = rows(conninfo, "select status, requested_by, decided_by is not null from adjustments")
    assert row == ("applied", "fay", True)
    line = rows(conninfo, "select id::text, kind from transactions where kind = 'adjustment' and amount = 50")
    assert line == [(pending.adjustment_id, "adjustment")]


async def test_a_refund_by_two_processes_at_once(conninfo: str, offices: tuple[Office, Office]) -> None:
    ann = await somebody(offices[0], 5)
    await offices[0].sell(ann)
    order = newest_order(conninfo)
    calls = [office.refund(order, 600, "back-1") for _ in range(5) for office in offices]
    results = await asyncio.gather(*calls)
    assert len({result.outcome for result in results}) == 1
    assert sum(isinstance(entry.event, CreditsClawedBack) for entry in the_log(conninfo)) == 1
    assert account(conninfo, ann) == (45, 0)
    shown = "select recharge_id::text, user_id::text, payment_method, refund_reference, amount_fen, credits, reason"
    refund = (order, ann, "alipay", "back-1", 600, 60, "refund")
    assert rows(conninfo, f"{shown} from refunds") == [refund]
    assert rows(conninfo, "select refunded_fen from recharges") == [(600,)]


async def test_one_refund_is_of_one_order(conninfo: str, offices: tuple[Office, Office]) -> None:
    ann = await somebody(offices[0], 5)
    await offices[0].sell(ann)
    one_order = newest_order(conninfo)
    await offices[0].sell(ann)
    other_order = newest_order(conninfo)
    assert one_order != other_order
    await offices[0].refund(one_order, 600, "back-1")
    before = len(the_log(conninfo))
    with pytest.raises(RefundUsed):
        await offices[1].refund(other_order, 600, "back-1")
    assert len(the_log(conninfo)) == before
    assert account(conninfo, ann) == (145, 0)


async def test_several_refunds_of_an_order_in_one_batch_add_up(conninfo: str, offices: tuple[Office, Office]) -> None:
    ann = await somebody(offices[0], 5)
    await offices[0].sell(ann)
    order = newest_order(conninfo)
    await asyncio.gather(*(offices[0].refund(order, 5, f"back-{n}") for n in range(20)))
    assert rows(conninfo, "select refunded_fen from recharges") == [(100,)]
    assert rows(conninfo, "select sum(amount_fen), sum(credits), count(*) from refunds") == [(100, 10, 20)]
    assert account(conninfo, ann) == (95, 0)


async def test_a_rebuild_finds_what_was_written_live(conninfo: str, offices: tuple[Office, Office]) -> None:
    office, other = offices
    ann = await somebody(office)
    await office.sell(ann)
    await office.refund(newest_order(conninfo), 400, "back-1")
    for amount, decide in ((5, None), (-60, "approve"), (70, "reject"), (80, None)):
        done = (await office.adjustments.request(Wish(user_id=ann, amount=amount, reason="x"), actor="fay")).outcome
        assert done is not None
        if decide is not None:
            await getattr(other.adjustments, decide)(done.adjustment_id, actor="gus")
    statuses = rows(conninfo, "select amount, status, decided_by from adjustments order by position")
    assert statuses == [(5, "applied", None), (-60, "applied", "gus"), (70, "rejected", "gus"), (80, "pending", None)]
    for name in ("adjustments", "recharges", "ledger"):
        rebuilt = rebuild(conninfo, VAULT, READ_MODELS[name])
        assert not any(rebuilt.differences.values()), rebuilt
    assert rows(conninfo, "select amount, status, decided_by from adjustments order by position") == statuses


@pytest.mark.parametrize(
    "change",
    [
        "update adjustments set decided_by = requested_by",
        "update adjustments set amount = 0",
        "update recharges set refunded_fen = amount_fen + 1",
        "update recharges set status = 'pending'",
    ],
)
async def test_the_database_refuses_what_cannot_be(conninfo: str, offices: tuple[Office, Office], change: str) -> None:
    ann = await somebody(offices[0])
    await offices[0].adjustments.request(Wish(user_id=ann, amount=5, reason="x"), actor="fay")
    await offices[0].sell(ann)
    await offices[0].refund(newest_order(conninfo), 400, "back-1")
    with pytest.raises(psycopg.errors.CheckViolation):
        run_sql(conninfo, change)


async def test_what_a_transaction_spent_is_read_from_the_log(conninfo: str, offices: tuple[Office, Office]) -> None:
    office = offices[0]
    ann, spent = await somebody(office), some_id()
    await office.sell(ann, 1)
    await office.journal.transact(consume(ann, 105, transaction_id=spent), actor=ann)
    db = Pool(conninfo)
    await db.open()
    try:
        found = await LoggedSpendings(db).find(spent)
        log = the_log(conninfo)
        (consumed,) = [entry.event for entry in log if isinstance(entry.event, CreditsConsumed)]
        granted = [entry.event for entry in log if isinstance(entry.event, CreditsGranted)]
        terms = {
            event.lot: Terms(event.amount, event.paid_fen, event.expires_at, event.priority, event.reference)
            for event in granted
        }
        assert found == Spending(ann, consumed, terms)
        assert await LoggedSpendings(db).find(granted[0].transaction_id) == Spending(ann, None)
        assert await LoggedSpendings(db).find(some_id()) is None
    finally:
        await db.close()
