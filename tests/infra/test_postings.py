"""The books balance at every event, say what the pure mapping says, and no report is made from stale ones."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, timedelta

import psycopg
import pytest

from mintage.application.reports import Reports
from mintage.application.transaction import Unavailable
from mintage.domain.credits.events import CreditsClawedBack, CreditsGranted, CreditsRemoved
from mintage.domain.credits.postings import Posting
from mintage.domain.fields import InvalidFields, Reason
from mintage.domain.registration.decider import PersonUnknown
from mintage.infra import freshness
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool, connect_sync
from mintage.infra.follower import follow_once
from mintage.infra.freshness import BroughtUp, Followed
from mintage.infra.rebuild import rebuild
from mintage.projections.postings import POSTINGS, row_of
from tests.conftest import VAULT
from tests.infra.kit import (
    Gated,
    consume,
    grant,
    journal_on,
    one,
    postgres_store,
    rows,
    run_sql,
    some_id,
    the_log,
)
from tests.infra.months import BEGIN, lines, months

CREDITS = ("available", "held", "owed", "paid", "promotional", "revenue", "breakage")
FEN = ("receivable_fen", "paid_fen", "revenue_fen", "breakage_fen")


@pytest.fixture
async def db(conninfo: str) -> AsyncIterator[Pool]:
    pool = Pool(conninfo)
    await pool.open()
    yield pool
    await pool.close()


async def spend(conninfo: str, user_id: str) -> None:
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        await journal.transact(consume(user_id, 3), actor="test")


def follow(conninfo: str) -> None:
    with connect_sync(conninfo) as connection:
        while follow_once(connection, VAULT, POSTINGS):
            pass


def belonging(event: object) -> str | None:
    """The order or the adjustment that an event belongs to."""
    match event:
        case CreditsClawedBack():
            return event.recharge_id
        case CreditsGranted() | CreditsRemoved():
            return event.reference
        case _:
            return None


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_history_balances_at_every_event(conninfo: str, seed: int) -> None:
    await months(conninfo, seed, 600, people=5)
    follow(conninfo)
    log = the_log(conninfo)
    columns = "position, at, user_id::text, event, version, transaction_id::text, reference::text, gateway, product"
    stored = rows(conninfo, f"select {columns}, {', '.join(Posting.__struct_fields__)} from postings order by 1")
    assert stored == [row_of(entry) for entry in log]
    assert [row[6] for row in stored] == [belonging(entry.event) for entry in log]
    assert list(Posting.__struct_fields__) == [*CREDITS, *FEN]
    balances = [0] * len(Posting.__struct_fields__)
    for row in stored:
        balances = [before + change for before, change in zip(balances, row[9:], strict=True)]
        assert sum(balances[: len(CREDITS)]) == sum(balances[len(CREDITS) :]) == 0
    served = rows(conninfo, "select sum(available), sum(held), -sum(owed) from credit_accounts")
    assert served == [tuple(balances[:3])]
    legs = rows(
        conninfo,
        "select split_part(account, ':', 1), sum(credits), sum(fen) from ledger_entries group by 1 order by 1",
    )
    named = {name: (balances[CREDITS.index(name)], 0) for name in CREDITS} | {"receivable": (0, balances[7])}
    for name, column in (("paid", 8), ("revenue", 9), ("breakage", 10)):
        named[name] = (named[name][0], balances[column])
    assert legs == [(name, *named[name]) for name in sorted(named)]
    assert one(conninfo, "select count(*) from ledger_entries where credits = 0 and fen = 0") == 0
    assert not any(rebuild(conninfo, VAULT, POSTINGS).differences.values())


@pytest.mark.parametrize("column", [*CREDITS, *FEN])
async def test_the_database_refuses_a_posting_that_does_not_balance(conninfo: str, column: str) -> None:
    await spend(conninfo, some_id())
    follow(conninfo)
    with pytest.raises(psycopg.errors.CheckViolation):
        run_sql(conninfo, f"update postings set {column} = {column} + 1")


class TestFreshness:
    async def test_a_report_waits_for_the_follower(
        self, conninfo: str, db: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(freshness, "WAIT_S", 0.3)
        user_id = some_id()
        await spend(conninfo, user_id)
        reports = Reports(db, Followed(db), utc_now)
        with pytest.raises(Unavailable, match="reaches event 0 of 2"):
            await reports.trial_balance(None)
        monkeypatch.setattr(freshness, "WAIT_S", 30)
        asked = asyncio.create_task(reports.statement(user_id, None, None))
        await asyncio.sleep(0.2)
        assert not asked.done()
        await asyncio.to_thread(follow, conninfo)
        assert [line.event for line in await lines(await asked)] == ["opening", "credits.granted", "credits.consumed"]

    async def test_where_nobody_follows_it_is_brought_up(self, conninfo: str, db: Pool) -> None:
        await spend(conninfo, some_id())
        reports = Reports(db, BroughtUp(db, conninfo, VAULT), utc_now)
        assert (await reports.trial_balance(None)).scope.position == 2
        await spend(conninfo, some_id())
        assert (await reports.trial_balance(None)).scope.position == 4

    @pytest.mark.parametrize("follows", [True, False])
    async def test_what_is_being_recorded_is_waited_for(
        self, conninfo: str, db: Pool, monkeypatch: pytest.MonkeyPatch, follows: bool
    ) -> None:
        """It has its time already: a report without it would be another one tomorrow."""
        store, user_id = Gated(postgres_store(conninfo)), some_id()
        reports = Reports(db, Followed(db) if follows else BroughtUp(db, conninfo, VAULT), utc_now)
        store.gate.set()
        async with journal_on(store) as journal:
            await journal.transact(grant(user_id, 10), actor="test")
            before = utc_now()
            await asyncio.sleep(0.01)
            await journal.transact(grant(user_id, 10), actor="test")
            follow(conninfo)
            store.gate.clear()
            store.waiting.clear()
            recording = asyncio.create_task(journal.transact(grant(user_id, 55), actor="test"))
            await store.waiting.wait()
            as_of = utc_now()
            monkeypatch.setattr(freshness, "WAIT_S", 0.2)
            for moment in (as_of, None):
                with pytest.raises(Unavailable, match=r"being recorded, for longer than 0\.2 s"):
                    await reports.trial_balance(moment)
            # Whatever it is, it comes after what is there already.
            assert (await reports.trial_balance(before)).scope.position == 1
            monkeypatch.setattr(freshness, "WAIT_S", 30)
            asked = [asyncio.create_task(reports.trial_balance(moment)) for moment in (as_of, None)]
            await asyncio.sleep(0.2)
            assert not any(task.done() for task in asked)
            store.gate.set()
            await recording
            await asyncio.to_thread(follow, conninfo)
            assert [(await task).scope.position for task in asked] == [3, 3]
            assert one(conninfo, "select max(at) from postings") <= as_of
            assert (await reports.trial_balance(as_of)).scope.position == 3

    async def test_a_database_that_nobody_may_write_says_how_far_it_reaches(self, conninfo: str, db: Pool) -> None:
        await spend(conninfo, some_id())
        follow(conninfo)
        newest = one(conninfo, "select max(at) from postings")
        await spend(conninfo, some_id())
        name = psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"]
        run_sql(conninfo, f"alter database {name} set default_transaction_read_only = on")
        reports = Reports(db, BroughtUp(db, conninfo, VAULT), utc_now)
        with pytest.raises(Unavailable, match=r"reaches event 2 of 4, .* this database is read-only"):
            await reports.trial_balance(None)
        with pytest.raises(Unavailable, match="read-only"):
            # More may have been recorded at the very moment of the last posting.
            await reports.trial_balance(newest)
        assert (await reports.trial_balance(newest - timedelta(microseconds=1))).scope.position == 1


class TestRefusals:
    async def test_moments_that_cannot_be(self, db: Pool, conninfo: str) -> None:
        reports = Reports(db, BroughtUp(db, conninfo, VAULT), lambda: BEGIN)
        with pytest.raises(InvalidFields) as future:
            await reports.holds(BEGIN + timedelta(microseconds=1))
        assert future.value.fields == {"as_of": Reason("future")}
        for as_of in (None, BEGIN - timedelta(days=1)):
            with pytest.raises(InvalidFields) as later:
                await reports.revenue(as_of, (as_of or BEGIN) + timedelta(microseconds=1))
            assert later.value.fields == {"from": Reason("after_as_of")}

    async def test_a_statement_of_nobody(self, db: Pool, conninfo: str) -> None:
        reports = Reports(db, BroughtUp(db, conninfo, VAULT), utc_now)
        with pytest.raises(PersonUnknown):
            await reports.statement(some_id(), None, None)

    async def test_an_empty_ledger(self, db: Pool, conninfo: str) -> None:
        reports = Reports(db, BroughtUp(db, conninfo, VAULT), lambda: BEGIN)
        report = await reports.trial_balance(None)
        assert (report.scope.as_of, report.scope.position) == (BEGIN, 0)
        assert {(row.credits, row.fen) for row in await lines(report)} == {(0, 0)}
        assert await lines(await reports.ledger(BEGIN.replace(tzinfo=UTC))) == []


async def test_as_of_now_takes_in_what_another_process_recorded_ahead_of_our_clock(conninfo: str, db: Pool) -> None:
    await spend(conninfo, some_id())
    behind = utc_now() - timedelta(minutes=1)
    report = await Reports(db, BroughtUp(db, conninfo, VAULT), lambda: behind).trial_balance(None)
    assert report.scope.position == 2
    assert report.scope.as_of == one(conninfo, "select max(at) from postings")
