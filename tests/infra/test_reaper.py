"""Lots expire and holds time out on their moment, exactly once, whoever crashes, races or was not looking."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mintage.application.adjustments import Wish
from mintage.application.generations import Generations
from mintage.application.ledger import Ledger
from mintage.application.lifecycle import TIMED_OUT_MESSAGE, Lifecycle
from mintage.application.transaction import Transaction
from mintage.bootstrap import running
from mintage.domain.credits.decider import CREDITS, GrantCredits, HoldCredits
from mintage.domain.credits.events import CreditsExpired, HoldCaptured, HoldReleased
from mintage.domain.decider import Refusal
from mintage.domain.generation.events import GenerationCompleted, GenerationFailed
from mintage.infra import reaper as module
from mintage.infra.clock import utc_now
from mintage.infra.database import Pool
from mintage.infra.identifiers import new_id
from mintage.infra.journal import PostgresJournal
from mintage.infra.reaper import Reaper
from mintage.infra.settings import Settings
from mintage.infra.site import Site
from mintage.infra.storage import MediaFolder
from mintage.infra.store import Lost
from tests.conftest import VAULT, until
from tests.infra.kit import (
    ASK,
    CATALOGUE,
    FILE,
    TERMINATE,
    account,
    consume,
    journal_on,
    one,
    register,
    rows,
    run_sql,
    some_id,
    the_log,
)

HOLD_FOR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


class Process:
    """One of the processes that share a database: its journal, its use cases, its duty."""

    def __init__(self, db: Pool, journal: PostgresJournal, media: MediaFolder, clock: Clock) -> None:
        self.journal = journal
        self.ledger = Ledger(journal, new_id)
        self.generations = Generations(journal, CATALOGUE, new_id, None, HOLD_FOR)
        self.lifecycle = Lifecycle(journal, new_id)
        self.media = media
        self.reaper = Reaper(db, self.ledger, self.lifecycle, media, clock=clock)

    async def grant(self, user_id: str, amount: int, expires_at: datetime) -> None:
        transaction_id = some_id()

        def work(transaction: Transaction) -> None:
            command = GrantCredits(
                transaction_id=transaction_id,
                amount=amount,
                source="adjustment",
                description="granted",
                expires_at=expires_at,
                now=transaction.now,
            )
            transaction.execute(CREDITS, user_id, command)

        await self.journal.transact(work, actor="test")

    async def task(self, user_id: str) -> str:
        reply = await self.generations.request(user_id, ASK)
        assert reply.outcome is not None
        return reply.outcome.task_id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def process_on(conninfo: str, clock: Clock, folder: Path | None = None) -> AsyncIterator[Process]:
    db = Pool(conninfo)
    media = MediaFolder(folder or Path("nowhere"), lambda: "", b"k" * 32, clock)
    await db.open()
    try:
        async with journal_on(conninfo, clock=clock) as journal:
            yield Process(db, journal, media, clock)
    finally:
        await db.close()


@pytest.fixture
async def process(conninfo: str, clock: Clock, tmp_path: Path) -> AsyncIterator[Process]:
    async with process_on(conninfo, clock, tmp_path) as process:
        yield process


async def somebody(process: Process, amount: int = 100, *lives: timedelta) -> str:
    """A person with a lot of ``amount`` for each life."""
    user_id = some_id()
    await process.journal.transact(register(user_id, f"u{user_id[-12:]}"), actor=user_id)
    for life in lives or (timedelta(days=365),):
        await process.grant(user_id, amount, utc_now() + life)
    return user_id


def expired(conninfo: str) -> Counter[tuple[str, int]]:
    """How often each lot expired."""
    return Counter(
        (entry.key, entry.event.lot) for entry in the_log(conninfo) if isinstance(entry.event, CreditsExpired)
    )


def unsettled(conninfo: str, by: datetime) -> int:
    return int(one(conninfo, "select count(*) from lots where not settled and expires_at <= %s", (by,)))


def endings(conninfo: str) -> Counter[str]:
    """How often each task's hold ended."""
    ended = (entry.event for entry in the_log(conninfo))
    return Counter(event.hold_id for event in ended if isinstance(event, HoldCaptured | HoldReleased))


class TestLots:
    async def test_what_nobody_touches_expires_on_its_moment_and_not_before(
        self, conninfo: str, process: Process, clock: Clock
    ) -> None:
        ann = await somebody(process, 10, timedelta(hours=1), timedelta(hours=2))
        await process.journal.transact(consume(ann, 4), actor=ann)
        await process.reaper.catch_up()
        assert account(conninfo, ann) == (16, 0)
        clock.ahead = timedelta(hours=1)
        await process.reaper.catch_up()
        assert account(conninfo, ann) == (10, 0)
        clock.ahead = timedelta(days=1)
        await process.reaper.catch_up()
        await process.reaper.catch_up()
        assert account(conninfo, ann) == (0, 0)
        assert expired(conninfo) == {(ann, 1): 1, (ann, 2): 1}
        lines = rows(conninfo, "select kind, amount, description from transactions order by position desc limit 2")
        assert lines == [("expiry", 10, "10积分已过期"), ("expiry", 6, "6积分已过期")]
        assert unsettled(conninfo, clock()) == 0

    async def test_what_was_spent_in_time_is_only_marked(self, conninfo: str, process: Process, clock: Clock) -> None:
        ann = await somebody(process, 10, timedelta(hours=1))
        await process.journal.transact(consume(ann, 10), actor=ann)
        before = len(the_log(conninfo))
        clock.ahead = timedelta(hours=2)
        await process.reaper.catch_up()
        assert len(the_log(conninfo)) == before
        assert unsettled(conninfo, clock()) == 0

    async def test_what_was_held_meanwhile_expires_when_it_comes_back(
        self, conninfo: str, process: Process, clock: Clock
    ) -> None:
        ann = await somebody(process, 10, timedelta(minutes=30))
        task = await process.task(ann)
        clock.ahead = timedelta(minutes=40)
        await process.reaper.catch_up()
        assert account(conninfo, ann) == (0, 10)
        assert (expired(conninfo), unsettled(conninfo, clock())) == ({}, 0)
        await process.generations.cancel(ann, task)
        assert account(conninfo, ann) == (0, 0)
        assert expired(conninfo) == {(ann, 1): 1}

    async def test_more_than_a_portion_is_done_at_once(
        self, conninfo: str, process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PORTION", 5)
        people = [await somebody(process, 10, timedelta(hours=1), timedelta(hours=1)) for _ in range(9)]
        clock.ahead = timedelta(hours=2)
        await process.reaper.catch_up()
        assert expired(conninfo) == {(user_id, lot): 1 for user_id in people for lot in (1, 2)}
        assert unsettled(conninfo, clock()) == 0

    async def test_killed_between_the_entry_and_its_mark_it_is_entered_once(
        self, conninfo: str, process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ann = await somebody(process, 10, timedelta(hours=1))
        clock.ahead = timedelta(hours=2)

        async def killed(*_: object) -> int:
            raise Lost("killed")

        with monkeypatch.context() as patched:
            patched.setattr(Pool, "execute", killed)
            with pytest.raises(Lost):
                await process.reaper.catch_up()
        assert (expired(conninfo), unsettled(conninfo, clock())) == ({(ann, 1): 1}, 1)
        async with process_on(conninfo, clock) as next_one:
            await next_one.reaper.catch_up()
        assert (expired(conninfo), unsettled(conninfo, clock())) == ({(ann, 1): 1}, 0)

    async def test_a_lot_that_the_account_does_not_find_due_yet_is_not_marked(
        self, conninfo: str, process: Process, clock: Clock
    ) -> None:
        """The clock was put back between the look and the decision."""
        ann = await somebody(process, 10, timedelta(hours=1))
        times = iter([utc_now() + timedelta(hours=2)])
        process.reaper._clock = lambda: next(times, utc_now())
        await process.reaper.catch_up()
        assert (account(conninfo, ann), unsettled(conninfo, utc_now() + timedelta(hours=3))) == ((10, 0), 1)
        clock.ahead = timedelta(hours=2)
        process.reaper._clock = clock
        await process.reaper.catch_up()
        assert expired(conninfo) == {(ann, 1): 1}

    async def test_an_account_with_more_than_a_portion_that_fails_keeps_nobody_up(
        self, conninfo: str, process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PORTION", 3)
        broken = await somebody(process, 10, *[timedelta(minutes=30)] * 7)
        well = await somebody(process, 10, timedelta(hours=1))
        damaged = "update stored_events set state = 'x' where originator_id = 'credits-{}' and originator_version = 7"
        run_sql(conninfo, "alter table stored_events disable trigger user", damaged.format(broken))
        clock.ahead = timedelta(hours=2)
        async with process_on(conninfo, clock) as fresh, asyncio.timeout(20):
            await fresh.reaper.catch_up()
        assert account(conninfo, well) == (0, 0)
        assert unsettled(conninfo, clock()) == 7

    async def test_two_processes_at_once_enter_each_once(
        self, conninfo: str, process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PORTION", 7)
        people = [await somebody(process, 10, timedelta(hours=1), timedelta(hours=1)) for _ in range(20)]
        clock.ahead = timedelta(hours=2)
        async with process_on(conninfo, clock) as other:
            spending = [process.journal.transact(consume(user_id, 3), actor=user_id) for user_id in people]
            done = await asyncio.gather(
                process.reaper.catch_up(), other.reaper.catch_up(), *spending, return_exceptions=True
            )
        assert done[:2] == [None, None]
        assert all(isinstance(result, Refusal) for result in done[2:])
        assert expired(conninfo) == {(user_id, lot): 1 for user_id in people for lot in (1, 2)}
        assert {account(conninfo, user_id) for user_id in people} == {(0, 0)}


class TestHolds:
    async def test_a_task_past_its_time_fails_and_gives_its_credits_back(
        self, conninfo: str, process: Process, clock: Clock
    ) -> None:
        ann = await somebody(process)
        task = await process.task(ann)
        price = account(conninfo, ann)[1]
        clock.ahead = HOLD_FOR - timedelta(minutes=1)
        await process.reaper.catch_up()
        assert account(conninfo, ann) == (100 - price, price)
        clock.ahead = HOLD_FOR + timedelta(minutes=1)
        await process.reaper.catch_up()
        await process.reaper.catch_up()
        assert account(conninfo, ann) == (100, 0)
        shown = rows(conninfo, "select status, error_code, error_message, charged from tasks")
        assert shown == [("failed", "TIMED_OUT", TIMED_OUT_MESSAGE, 0)]
        assert rows(conninfo, "select distinct status from works") == [("failed",)]
        assert rows(conninfo, "select state, captured from holds") == [("released", 0)]
        assert rows(conninfo, "select * from queue") == []
        assert endings(conninfo) == {task: 1}
        last = the_log(conninfo)[-1]
        same = [entry.event for entry in the_log(conninfo) if entry.command_id == last.command_id]
        assert {type(event).__name__ for event in same} == {"GenerationFailed", "HoldReleased", "WorkFailed"}

    async def test_what_a_killed_worker_left_goes_with_the_task(
        self, conninfo: str, process: Process, clock: Clock, tmp_path: Path
    ) -> None:
        task = await process.task(await somebody(process))
        await process.lifecycle.start(task, fence=1, worker="w")
        (work_id,) = rows(conninfo, "select work_id::text from works limit 1")[0]
        process.media.write(MediaFolder.key_of(work_id, 1, ".png"), b"half of it")
        assert [path.read_bytes() for path in tmp_path.rglob("*.png")] == [b"half of it"]
        clock.ahead = HOLD_FOR * 2
        await process.reaper.catch_up()
        assert list(tmp_path.rglob("*.png")) == []

    async def test_of_an_end_and_the_time_whichever_comes_first_counts(
        self, conninfo: str, process: Process, clock: Clock
    ) -> None:
        ann = await somebody(process, 1_000)
        tasks = [await process.task(ann) for _ in range(20)]
        for task in tasks:
            await process.lifecycle.start(task, fence=1, worker="w")
        clock.ahead = HOLD_FOR * 2

        async def finish(task: str) -> None:
            await process.lifecycle.succeed(task, [FILE] * 3, kind="image", fence=1, worker="w")

        async with process_on(conninfo, clock) as other:
            done: Sequence[Any] = await asyncio.gather(
                *(finish(task) for task in tasks), other.reaper.catch_up(), return_exceptions=True
            )
            await other.reaper.catch_up()
        assert done[-1] is None
        assert endings(conninfo) == dict.fromkeys(tasks, 1)
        log = the_log(conninfo)
        captured = {entry.event.hold_id for entry in log if isinstance(entry.event, HoldCaptured)}
        assert captured == {entry.key for entry in log if isinstance(entry.event, GenerationCompleted)}
        failed = {entry.key for entry in log if isinstance(entry.event, GenerationFailed)}
        assert failed == set(tasks) - captured
        assert sum(result is None for result in done[:-1]) == len(captured)
        spent = sum(entry.event.amount for entry in log if isinstance(entry.event, HoldCaptured))
        assert account(conninfo, ann) == (1_000 - spent, 0)

    async def test_two_processes_at_once_time_out_each_once(
        self, conninfo: str, process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "PORTION", 4)
        ann = await somebody(process, 1_000)
        tasks = [await process.task(ann) for _ in range(15)]
        clock.ahead = HOLD_FOR * 2
        async with process_on(conninfo, clock) as other:
            await asyncio.gather(process.reaper.catch_up(), other.reaper.catch_up())
        assert endings(conninfo) == dict.fromkeys(tasks, 1)
        assert account(conninfo, ann) == (1_000, 0)

    async def test_what_was_captured_in_time_stays(self, conninfo: str, process: Process, clock: Clock) -> None:
        ann = await somebody(process)
        task = await process.task(ann)
        await process.lifecycle.start(task, fence=1, worker="w")
        await process.lifecycle.succeed(task, [FILE] * 3, kind="image", fence=1, worker="w")
        before = len(the_log(conninfo))
        clock.ahead = HOLD_FOR * 2
        await process.reaper.catch_up()
        await process.lifecycle.end_hold(ann, task)
        assert len(the_log(conninfo)) == before

    async def test_a_pass_over_holds_that_the_account_does_not_know_tries_each_once(
        self, conninfo: str, process: Process, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At one and the same moment, of one person, and more than a portion."""
        monkeypatch.setattr(module, "PORTION", 3)
        ann = await somebody(process)
        task = await process.task(ann)
        run_sql(
            conninfo,
            f"""insert into holds (hold_id, user_id, amount, product, description, created_at, expires_at)
            select gen_random_uuid(), '{ann}', 1, 'x', 'x', now(), date_trunc('day', now())
            from generate_series(1, 9)""",
            # As a task that was accepted before tasks had a time of their own.
            "update queue set deadline_at = null",
        )
        tried: list[str] = []

        async def end_hold(user_id: str, hold_id: str) -> tuple[str, ...] | None:
            tried.append(hold_id)
            return await ends(user_id, hold_id)

        ends = process.lifecycle.end_hold
        monkeypatch.setattr(process.lifecycle, "end_hold", end_hold)
        clock.ahead = HOLD_FOR * 2
        async with asyncio.timeout(20):
            await process.reaper.catch_up()
        assert endings(conninfo) == {task: 1}
        assert len(tried) == len(set(tried)) == 10
        assert tried[-1] == task

    async def test_a_hold_that_nobody_owns_is_released(self, conninfo: str, process: Process, clock: Clock) -> None:
        ann, nobodys = await somebody(process), some_id()

        def hold_for_nothing(transaction: Transaction) -> None:
            command = HoldCredits(
                hold_id=nobodys,
                amount=1,
                description="of no task",
                product="x",
                now=transaction.now,
                expires_at=transaction.now,
            )
            transaction.execute(CREDITS, ann, command)

        await process.journal.transact(hold_for_nothing, actor="test")
        clock.ahead = HOLD_FOR * 2
        await process.reaper.catch_up()
        assert endings(conninfo) == {nobodys: 1}
        assert account(conninfo, ann) == (100, 0)

    async def test_one_that_cannot_be_ended_keeps_nobody_up(
        self, conninfo: str, process: Process, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        ann = await somebody(process)
        broken, task = await process.task(ann), await process.task(ann)
        damaged = f"update stored_events set state = 'x' where originator_id = 'generation-{broken}'"
        run_sql(conninfo, "alter table stored_events disable trigger user", damaged)
        clock.ahead = HOLD_FOR * 2
        async with process_on(conninfo, clock) as fresh:
            with caplog.at_level(logging.ERROR):
                await fresh.reaper.catch_up()
        states = dict(rows(conninfo, "select hold_id::text, state from holds"))
        assert states == {broken: "open", task: "released"}
        assert "cannot be let go of" in caplog.text


class TestDuty:
    async def test_it_sleeps_until_the_next_moment(
        self, conninfo: str, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "EVERY_S", 60.0)
        ann = await somebody(process, 10, timedelta(seconds=1))
        duty = asyncio.create_task(process.reaper.run())
        try:

            async def gone() -> bool:
                return account(conninfo, ann) == (0, 0)

            await until(gone, timeout_s=10)
        finally:
            duty.cancel()
        (entry,) = [entry for entry in the_log(conninfo) if isinstance(entry.event, CreditsExpired)]
        due = one(conninfo, "select expires_at from lots")
        assert timedelta() <= entry.at - due < timedelta(seconds=2)

    async def test_it_goes_on_after_the_database_was_away(self, conninfo: str, process: Process) -> None:
        ann = await somebody(process, 10, timedelta(seconds=1))
        duty = asyncio.create_task(process.reaper.run())
        try:
            await asyncio.sleep(0.2)
            run_sql(conninfo, TERMINATE)

            async def gone() -> bool:
                return account(conninfo, ann) == (0, 0)

            await until(gone, timeout_s=20)
        finally:
            duty.cancel()
        assert expired(conninfo) == {(ann, 1): 1}


@pytest.mark.parametrize("worker", [True, False])
async def test_every_server_sees_to_it(conninfo: str, clock: Clock, tmp_path: Path, worker: bool) -> None:
    """Whether it has a worker or not, by its own clock, and after as long as the settings say."""
    settings = Settings(data_dir=tmp_path, hold_s=7_200)
    place = Site(conninfo, VAULT, None)
    async with running(settings, place, base_url=lambda: "", worker=worker, clock=clock) as services:
        ann = some_id()
        async with journal_on(conninfo, clock=clock) as journal:
            await journal.transact(register(ann, "ann"), actor=ann)
        given = Wish(user_id=ann, amount=30, reason="x", expires_at=clock() + timedelta(hours=1))
        await services.adjustments.request(given, actor="fay")
        kept = Wish(user_id=ann, amount=10, reason="x", expires_at=clock() + timedelta(days=9))
        await services.adjustments.request(kept, actor="fay")

        async def has(available: int, held: int) -> bool:
            return account(conninfo, ann) == (available, held)

        clock.ahead = timedelta(minutes=61)
        await until(lambda: has(10, 0), timeout_s=5)
        if not worker:
            reply = await services.generations.request(ann, ASK)
            assert reply.outcome is not None
            assert await has(0, 10)
            assert one(conninfo, "select expires_at - created_at from holds") == timedelta(hours=2)
            clock.ahead += timedelta(minutes=121)
            await until(lambda: has(10, 0), timeout_s=5)
            assert endings(conninfo) == {reply.outcome.task_id: 1}
