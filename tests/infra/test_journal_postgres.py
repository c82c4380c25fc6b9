"""The journal on PostgreSQL: batches that the database breaks, read models, several journals and processes at once."""

import asyncio
import random
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from mintage.application.transaction import Transaction, Unavailable
from mintage.domain.credits.decider import CREDITS, HoldExists, InsufficientCredits
from mintage.domain.registration.decider import EmailTaken, UsernameTaken
from mintage.infra.audit import verify
from mintage.infra.store import Breach, Needs, Tail
from tests.conftest import VAULT
from tests.infra.hammer import Told
from tests.infra.kit import (
    Through,
    account,
    capture,
    consume,
    grant,
    hold,
    journal_on,
    of,
    one,
    outcomes,
    postgres_store,
    receipt,
    register,
    release,
    rows,
    run_sql,
    some_id,
    the_log,
)


async def test_a_hundred_debits_of_one_account_in_one_batch(conninfo: str) -> None:
    user_id = some_id()
    store = Through(postgres_store(conninfo))
    async with journal_on(store, whole_max=100) as journal:
        await journal.transact(grant(user_id, 1_000), actor="test")
        run_sql(
            conninfo,
            "create table changes (n int)",
            """create function count_change() returns trigger language plpgsql as
            $$ begin insert into changes values (1); return null; end $$""",
            """create trigger counting after update on credit_accounts
            for each row execute function count_change()""",
        )
        before = store.calls["commit"]
        works = [consume(user_id, 1 + turn % 3, description=f"no. {turn}") for turn in range(100)]
        results = await outcomes(works, journal)
        assert store.calls["commit"] - before == 1
    balance, expected = 1_000, []
    for turn in range(100):
        balance -= 1 + turn % 3
        expected.append((f"no. {turn}", 1 + turn % 3, balance))
    assert results == [left for _, _, left in expected]
    lines = "select description, amount, balance_after from transactions where type = 'consume' order by position"
    assert rows(conninfo, lines) == expected
    assert account(conninfo, user_id) == (balance, 0)
    assert one(conninfo, "select count(*) from changes") == 1, "one update of the row"
    assert len(the_log(conninfo)) == 101


async def test_two_hundred_callers_need_few_commits(conninfo: str) -> None:
    users = [some_id() for _ in range(20)]
    store = Through(postgres_store(conninfo))
    async with journal_on(store) as journal:
        await outcomes([grant(user_id, 100) for user_id in users], journal)
        store.calls.clear()
        await outcomes([consume(users[turn % 20], 1) for turn in range(200)], journal)
        assert store.calls["commit"] <= 8
        assert store.calls["lock"] <= 8


async def test_works_that_the_database_refuses_fail_alone(conninfo: str) -> None:
    user_id, taken = some_id(), some_id()
    too_long = "".join(some_id() for _ in range(1_000))
    followed: list[str] = []

    def kept_under_too_long_a_key(transaction: Transaction) -> None:
        transaction.record(receipt(user_id, key=too_long))
        transaction.after.append(lambda: followed.append("too long"))
        consume(user_id, 1)(transaction)

    def well(transaction: Transaction) -> int:
        transaction.after.append(lambda: followed.append("well"))
        return consume(user_id, 1)(transaction)

    def kept_under_no_text_at_all(transaction: Transaction) -> None:
        transaction.record(receipt(user_id, key="half of a character \ud83d"))
        consume(user_id, 1)(transaction)

    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100), actor="test")
        await journal.transact(register(taken, "taken", email="a@b.c"), actor="test")
        newcomers = [some_id() for _ in range(4)]
        results = await outcomes(
            [
                well,
                register(newcomers[0], "Taken"),  # unique violation
                register(newcomers[1], "free"),
                consume(user_id, 1, description="nul \x00"),  # not representable
                well,
                register(newcomers[2], "other", email="a@b.c"),
                kept_under_too_long_a_key,  # beyond the database's limits
                consume(user_id, 1, transaction_id="no uuid"),
                kept_under_no_text_at_all,
                register(newcomers[3], "third"),
                well,
            ],
            journal,
        )
        # Nobody is left behind with a state that was never stored.
        assert await journal.transact(consume(user_id, 1), actor="test") == 96
        assert await journal.transact(register(newcomers[0], "fourth"), actor="test") == 4
    kinds = [type(result) for result in results]
    assert kinds == [int, UsernameTaken, int, Breach, int, EmailTaken, Breach, Breach, Breach, int, int]
    assert [results[turn] for turn in (0, 4, 10)] == [99, 98, 97]
    assert sorted(results[turn] for turn in (2, 9)) == [2, 3]
    assert followed == ["well"] * 3
    assert account(conninfo, user_id) == (96, 0)
    assert rows(conninfo, "select username, number from people order by number") == [
        ("taken", 1), ("free", 2), ("third", 3), ("fourth", 4)
    ]  # fmt: skip
    assert one(conninfo, "select count(*) from receipts") == 0
    assert len(the_log(conninfo)) == 9


async def test_two_newcomers_with_one_name_in_one_batch(conninfo: str) -> None:
    async with journal_on(conninfo) as journal:
        results = await outcomes([register(some_id(), name) for name in ("same", "SAME", "else")], journal)
    assert [type(result) for result in results] == [int, UsernameTaken, int]
    assert one(conninfo, "select count(*) from people") == 2


async def test_a_hold_id_is_used_once_and_a_second_time_refused(conninfo: str) -> None:
    """The account forgets a hold that has ended; the database does not."""
    user_id, ended, captured, fresh = some_id(), some_id(), some_id(), some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100), actor="test")
        await outcomes([hold(user_id, ended, 5), hold(user_id, captured, 5)], journal)
        await outcomes([release(user_id, ended), capture(user_id, captured, 5)], journal)
        again = [hold(user_id, hold_id, 7) for hold_id in (ended, fresh, captured, fresh)]
        results = await outcomes(again, journal)
        assert [type(result) for result in results] == [HoldExists, int, HoldExists, HoldExists]
        # Of an open one the account itself knows.
        assert [results[turn].hold_id for turn in (0, 2, 3)] == [None, None, fresh]
        assert await journal.transact(consume(user_id, 1), actor="test") == 87
    assert account(conninfo, user_id) == (87, 7)
    states = "select hold_id::text, state from holds"
    assert dict(rows(conninfo, states)) == {ended: "released", captured: "captured", fresh: "open"}


async def test_a_balance_the_code_is_wrong_about_fails_alone(conninfo: str) -> None:
    poor, rich = some_id(), some_id()
    async with journal_on(conninfo) as journal:
        await outcomes([grant(poor, 10), grant(rich, 10)], journal)
        run_sql(conninfo, f"update credit_accounts set available = 3 where user_id = '{poor}'")
        results = await outcomes([consume(rich, 4), consume(poor, 4), consume(rich, 4)], journal)
        assert isinstance(results[1], Breach)
        assert results[1].constraint == "credit_accounts_available"
        assert (results[0], results[2]) == (6, 2)
    assert (account(conninfo, poor), account(conninfo, rich)) == ((3, 0), (2, 0))


async def test_a_stream_that_cannot_be_read_hurts_who_needs_it(conninfo: str) -> None:
    damaged, well = some_id(), some_id()
    async with journal_on(conninfo) as journal:
        await outcomes([grant(damaged, 10), grant(well, 10)], journal)
    run_sql(
        conninfo,
        "alter table stored_events disable trigger user",
        f"update stored_events set state = 'nonsense' where originator_id = 'credits-{damaged}'",
    )
    async with journal_on(Behindhand(conninfo)) as journal:
        results = await outcomes([consume(well, 1), consume(damaged, 1), consume(well, 1)], journal)
    assert [type(result) for result in results] == [int, Breach, int]
    assert account(conninfo, well) == (8, 0)


class Behindhand(Through):
    """Does not read the log from its beginning, as a process that has run for long."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(postgres_store(conninfo))
        self.head = one(conninfo, "select max(notification_id) from stored_events")

    async def lock(self, after: int | None) -> Tail:
        return await super().lock(max(after or 0, self.head))


class Behind(Through):
    """Somebody inserts an event straight into the table between our lock and our commit."""

    def __init__(self, conninfo: str) -> None:
        super().__init__(postgres_store(conninfo))
        self.conninfo = conninfo
        self.stream = ""

    async def commit(self, *batch: Any) -> None:
        if self.stream:
            run_sql(
                self.conninfo,
                f"""insert into stored_events
                select originator_id, originator_version + 1, topic, state, notification_id + 1, gen_random_uuid(),
                    hash
                from stored_events where originator_id = '{self.stream}' order by 2 desc limit 1""",
                f"update credit_accounts set version = version + 1 where 'credits-' || user_id = '{self.stream}'",
            )
            self.stream = ""
        await super().commit(*batch)


async def test_who_inserts_behind_our_back_makes_us_decide_again(conninfo: str) -> None:
    user_id = some_id()
    store = Behind(conninfo)
    async with journal_on(store) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        assert await journal.transact(consume(user_id, 4), actor="test") == 6
        store.stream = f"credits-{user_id}"
        # The row inserted is a copy of the debit of 4, of which our states know nothing.
        results = await outcomes([consume(user_id, 3), consume(user_id, 2)], journal)
    assert isinstance(results[0], InsufficientCredits)
    assert (results[0].required, results[0].available) == (3, 2)
    assert results[1] == 0
    assert [found.version for found in the_log(conninfo)] == [1, 2, 3, 4]


async def test_numbers_have_no_gap_over_two_journals(conninfo: str) -> None:
    async with journal_on(conninfo) as first, journal_on(conninfo) as second:
        names = [f"name-{turn % 30}" for turn in range(40)]
        results = await outcomes([register(some_id(), name) for name in names], first, second)
    assert len(of(UsernameTaken, results)) == 10
    assert sorted(result for result in results if isinstance(result, int)) == list(range(1, 31))
    assert one(conninfo, "select last from numbers where kind = 'user'") == 30


async def test_a_long_holder_of_the_lock_costs_time_only(conninfo: str) -> None:
    """A migration, say: callers are sent away when their time is over, and served when it is done."""
    user_id = some_id()
    other = postgres_store(conninfo)
    await other.lock(0)
    async with journal_on(conninfo, deadline_s=0.2) as journal:
        assert isinstance((await outcomes([grant(user_id, 1)], journal))[0], Unavailable)
        await other.unlock()
        await other.close()
        assert await journal.transact(grant(user_id, 5), actor="test") == 5


# -- several at once


async def test_exactly_as_many_debits_succeed_as_the_account_can_pay(conninfo: str) -> None:
    user_id = some_id()
    async with AsyncExitStack() as stack:
        journals = [await stack.enter_async_context(journal_on(conninfo)) for _ in range(3)]
        await journals[0].transact(grant(user_id, 100), actor="test")
        results = await outcomes([consume(user_id, 3) for _ in range(90)], *journals)
    paid = [result for result in results if isinstance(result, int)]
    assert sorted(paid) == list(range(1, 100, 3)), "33 of 90, each with a balance of its own"
    assert len(of(InsufficientCredits, results)) == 57
    assert account(conninfo, user_id) == (1, 0)


async def test_a_hold_ends_once_whoever_ends_it(conninfo: str) -> None:
    user_id, holds = some_id(), [some_id() for _ in range(25)]
    async with journal_on(conninfo) as first, journal_on(conninfo) as second:
        await first.transact(grant(user_id, 100), actor="test")
        await outcomes([hold(user_id, hold_id, 4) for hold_id in holds], first, second)
        assert account(conninfo, user_id) == (0, 100)
        dice = random.Random(7)
        endings = [end(user_id, hold_id) for hold_id in holds for end in (release, lambda u, h: capture(u, h, 3))]
        dice.shuffle(endings)
        results = await outcomes(endings, first, second)
    assert len([result for result in results if isinstance(result, int)]) == 25
    captured = one(conninfo, "select count(*) from transactions where kind = 'generation'")
    assert account(conninfo, user_id) == (100 - 3 * captured, 0)


PROCESSES = 2
SECONDS = 2.0


async def test_processes_hammering_the_same_accounts(conninfo: str) -> None:
    scarce, users = some_id(), [some_id() for _ in range(4)]
    async with journal_on(conninfo) as journal:
        await outcomes([grant(scarce, 301), *[grant(user_id, 1_000_000) for user_id in users]], journal)
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "tests.infra.hammer", conninfo, str(SECONDS), scarce, *users]
    hammers = [
        await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[2])
        for _ in range(PROCESSES)
    ]
    try:
        for hammer in hammers:
            assert hammer.stdout is not None
            assert await hammer.stdout.readline() == b"ready\n"
        outputs = await asyncio.gather(*(hammer.communicate(b"go\n") for hammer in hammers))
    finally:
        for hammer in hammers:
            if hammer.returncode is None:
                hammer.kill()
                await hammer.wait()
    told = [msgspec.json.decode(output, type=Told) for output, _ in outputs]
    assert all(any(len(ids) > 20 for ids in one_told.spent.values()) for one_told in told), "both got their turn"
    for user_id, before in ((scarce, 301), *((user_id, 1_000_000) for user_id in users)):
        acknowledged = Counter(transaction_id for one_told in told for transaction_id in one_told.spent[user_id])
        lines = "select id::text from transactions where type = 'consume' and user_id = %s"
        assert acknowledged == Counter(line for (line,) in rows(conninfo, lines, (user_id,))), "lost or doubled"
        assert account(conninfo, user_id) == (before - acknowledged.total(), 0)
    assert sum(len(one_told.spent[scarce]) for one_told in told) == 301, "exactly what could be paid"
    assert all(one_told.refused.keys() == {scarce} for one_told in told)
    the_log(conninfo)
    findings = await asyncio.to_thread(verify, conninfo, VAULT)
    assert findings.differences == []


# -- snapshots


BATCH = 250


async def test_a_long_account_opens_from_its_snapshot(conninfo: str) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 100_000), actor="test")
        for _ in range(20):
            await outcomes([consume(user_id, 1) for _ in range(BATCH)], journal)
    stream = f"credits-{user_id}"
    snapshot = one(conninfo, "select version from snapshots where stream = %s", (stream,))
    assert 5_001 - snapshot <= CREDITS.snapshot_every + BATCH  # type: ignore[operator]
    expected = account(conninfo, user_id)[0]
    assert expected == 95_000

    def fetched() -> int:
        counted = "select idx_tup_fetch from pg_stat_user_tables where relname = 'stored_events'"
        return int(one(conninfo, counted))

    async def opened_cold() -> int:
        run_sql(conninfo, "select pg_stat_force_next_flush()")
        store = postgres_store(conninfo)
        # A position beyond the log's end: nothing but the one stream is read.
        await store.lock(1_000_000)
        before = fetched()
        version, state = (await store.load(Needs({stream}))).streams[stream]
        await store.unlock()
        assert store._connection is not None
        await store._connection.execute("select pg_stat_force_next_flush()")
        await store.close()
        assert (version, state.available) == (5_001, expected)
        return fetched() - before

    assert await opened_cold() <= CREDITS.snapshot_every + BATCH  # type: ignore[operator]
    run_sql(conninfo, "delete from snapshots")
    assert await opened_cold() >= 5_000, "dearer, and the same"
    async with journal_on(conninfo) as journal:
        assert await journal.transact(consume(user_id, 5), actor="test") == expected - 5
