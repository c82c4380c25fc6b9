"""Connections cut and frozen at the worst moment, a server killed under load: every command counts exactly once."""

import asyncio
import os
import random
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from mintage.application.transaction import OutcomeUnknown, Unavailable
from mintage.domain.credits.decider import InsufficientCredits
from mintage.infra import database
from mintage.infra import journal as journal_module
from mintage.infra import postgres_store as store_module
from mintage.infra.audit import verify
from mintage.infra.embedded_postgres import EmbeddedPostgres
from mintage.infra.migrate import migrate
from mintage.infra.store import Lost
from tests.conftest import VAULT, until
from tests.infra.kit import (
    account,
    consume,
    grant,
    journal_on,
    of,
    one,
    outcomes,
    postgres_store,
    rows,
    run_sql,
    some_id,
    the_log,
    through_port,
)
from tests.infra.proxy import COMMIT, COMMITTED, Direction, Proxy, proxy_to
from tests.infra.test_store import entry, granted, new_stream


@pytest.fixture
async def proxy(conninfo: str) -> AsyncIterator[Proxy]:
    async with proxy_to(conninfo) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RECONNECT_S", 0.02)


CUTS: list[tuple[Direction, bytes]] = [
    ("to_server", COMMIT),  # it never arrives, everything before it does
    ("to_client", COMMITTED),  # it is stored, and the reply is lost
    ("to_server", b"insert into stored_events"),
    ("to_server", b"pg_advisory_xact_lock"),
    ("to_client", b"BEGIN\x00"),  # the lock is held when we hear of nothing
    ("to_server", b"select exists"),  # while the outcome of a first cut is looked up
    ("to_client", b"SELECT 1\x00"),  # so is this, when there is an answer
]


async def granted_before(conninfo: str, amount: int) -> str:
    """An account made by somebody else: a connection says its statements in full the first time only."""
    user_id = some_id()
    async with journal_on(conninfo) as other:
        await other.transact(grant(user_id, amount), actor="test")
    return user_id


@pytest.mark.parametrize(("direction", "passing"), CUTS)
async def test_a_connection_cut_anywhere_costs_time_only(
    conninfo: str, proxy: Proxy, direction: Direction, passing: bytes
) -> None:
    user_id = await granted_before(conninfo, 10)
    async with journal_on(through_port(conninfo, proxy.port)) as journal:
        first, then = (direction, passing), None
        if passing in {b"select exists", b"SELECT 1\x00"}:
            first, then = ("to_client", COMMITTED), first
        proxy.cut_at(*first)
        debit = asyncio.create_task(journal.transact(consume(user_id, 1), actor="test"))
        await proxy.triggered.wait()
        if then is not None:
            proxy.cut_at(*then)
            await proxy.triggered.wait()
        assert await debit == 9
        assert await outcomes([consume(user_id, 2) for _ in range(4)], journal) == [7, 5, 3, 1]
    assert account(conninfo, user_id) == (1, 0)
    assert one(conninfo, "select count(*) from transactions where type = 'consume'") == 5
    the_log(conninfo)


@pytest.mark.parametrize(("direction", "passing"), CUTS[:2])
async def test_a_batch_in_doubt_is_answered_as_if_nothing_had_been(
    conninfo: str, proxy: Proxy, direction: Direction, passing: bytes
) -> None:
    user_id = await granted_before(conninfo, 10)
    async with journal_on(through_port(conninfo, proxy.port)) as journal:
        proxy.cut_at(direction, passing)
        results = await outcomes([consume(user_id, 3) for _ in range(5)], journal)
        assert proxy.triggered.is_set()
    assert results[:3] == [7, 4, 1]
    assert [type(result) for result in results[3:]] == [InsufficientCredits] * 2
    assert account(conninfo, user_id) == (1, 0)
    assert len(the_log(conninfo)) == 4


async def test_connections_cut_at_random_under_load(conninfo: str, proxy: Proxy) -> None:
    user_id, dice = some_id(), random.Random(11)
    async with journal_on(through_port(conninfo, proxy.port)) as journal, journal_on(conninfo) as other:
        await journal.transact(grant(user_id, 10_000), actor="test")

        async def cut() -> None:
            for _ in range(15):
                await asyncio.sleep(dice.uniform(0.005, 0.05))
                proxy.cut()

        cutting = asyncio.create_task(cut())
        ids: list[str] = []
        while not cutting.done():
            batch = [some_id() for _ in range(20)]
            works = [consume(user_id, 1, transaction_id=debit) for debit in batch]
            assert len(of(int, await outcomes(works, journal, other))) == 20
            ids += batch
        await cutting
    stored = [line for (line,) in rows(conninfo, "select id::text from transactions where type = 'consume'")]
    assert sorted(stored) == sorted(ids)
    assert account(conninfo, user_id) == (10_000 - len(ids), 0)
    the_log(conninfo)


@pytest.mark.parametrize(
    ("direction", "passing", "stored"), [("to_server", COMMIT, False), ("to_client", COMMITTED, True)]
)
async def test_a_frozen_connection_costs_time_only(
    conninfo: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, direction: Direction, passing: bytes, stored: bool
) -> None:
    monkeypatch.setattr(store_module, "OPERATION_S", 0.3)
    monkeypatch.setitem(database._CLIENT, "connect_timeout", 2)
    user_id = await granted_before(conninfo, 10)
    async with journal_on(through_port(conninfo, proxy.port), deadline_s=0.5) as journal:
        proxy.freeze_at(direction, passing)
        (result,) = await outcomes([consume(user_id, 4)], journal)
        assert isinstance(result, OutcomeUnknown)
        # Those who come meanwhile are answered too.
        (meanwhile,) = await outcomes([consume(user_id, 4)], journal)
        assert isinstance(meanwhile, Unavailable)
        monkeypatch.setattr(store_module, "OPERATION_S", 20.0)
        proxy.thaw()

        async def recovered() -> bool:
            return of(int, await outcomes([consume(user_id, 1)], journal)) != []

        await until(recovered)
    assert account(conninfo, user_id) == (10 - 4 * stored - 1, 0)
    the_log(conninfo)


@pytest.mark.parametrize("silent_from", ["lock", "the middle of a commit"])
async def test_the_server_lets_go_of_a_silent_holder_of_the_log(conninfo: str, proxy: Proxy, silent_from: str) -> None:
    silent, other = postgres_store(through_port(conninfo, proxy.port)), postgres_store(conninfo)
    first, second = entry(1, new_stream(), 1, granted(5)), entry(1, new_stream(), 1, granted(7))
    await silent.lock(0)
    committing: asyncio.Task[None] | None = None
    if silent_from != "lock":
        proxy.freeze_at("to_server", COMMIT)
        committing = asyncio.create_task(silent.commit([first], (), ()))
        await proxy.triggered.wait()
    # Nobody closes anything, yet the lock comes free within what the others have patience for.
    tail = await other.lock(0)
    assert not tail.entries
    await other.commit([second], (), ())
    proxy.thaw()
    with pytest.raises(Lost):
        await (committing or silent.commit([first], (), ()))
    await silent.close()
    await other.close()
    assert the_log(conninfo) == [second]


async def test_what_a_dead_writer_still_has_under_way_is_waited_for(conninfo: str, proxy: Proxy) -> None:
    """A COMMIT in flight when its connection is given up for dead: the lock decides, not a glance at the table."""
    user_id = some_id()
    run_sql(
        conninfo,
        "create table slow (on_ boolean)",
        "insert into slow values (false)",
        """create function dawdle() returns trigger language plpgsql as $$ begin
        if (select on_ from slow) then perform pg_sleep(1); end if; return null; end $$""",
        """create constraint trigger dawdling after insert on transactions deferrable initially deferred
        for each row execute function dawdle()""",
    )
    async with journal_on(through_port(conninfo, proxy.port)) as journal:
        await journal.transact(grant(user_id, 10), actor="test")
        run_sql(conninfo, "update slow set on_ = true")
        debit = asyncio.create_task(journal.transact(consume(user_id, 4), actor="test"))
        sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"

        async def committing() -> bool:
            return bool(one(conninfo, sleeping))

        await until(committing)
        proxy.cut()
        assert await debit == 6
    assert account(conninfo, user_id) == (6, 0)
    assert len(the_log(conninfo)) == 2


# -- the server is killed


async def test_a_server_killed_under_load_loses_nothing_it_acknowledged() -> None:
    with tempfile.TemporaryDirectory(prefix="mintage-kill-") as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            conninfo = await asyncio.to_thread(server.start)
            migrate(conninfo, VAULT)
            await _kill_under_load(server, conninfo, Path(folder))
        finally:
            await asyncio.to_thread(server.stop)


async def _kill_under_load(server: EmbeddedPostgres, conninfo: str, folder: Path) -> None:
    users = [some_id() for _ in range(6)]
    told: dict[str, list[str]] = {"done": [], "refused": [], "unknown": [], "untried": []}
    stop = asyncio.Event()
    async with journal_on(conninfo, deadline_s=5) as first, journal_on(conninfo, deadline_s=5) as second:
        await outcomes([grant(user_id, 100_000) for user_id in users[1:]], first)

        async def caller(turn: int) -> None:
            while not stop.is_set():
                turn += 1
                user_id, debit = users[turn % 6], some_id()
                try:
                    await (first, second)[turn % 2].transact(consume(user_id, 1, transaction_id=debit), actor="test")
                except InsufficientCredits:
                    told["refused"].append(debit)
                except OutcomeUnknown:
                    told["unknown"].append(debit)
                except Unavailable:
                    told["untried"].append(debit)
                else:
                    told["done"].append(debit)

        callers = [asyncio.create_task(caller(turn * 7)) for turn in range(30)]
        try:
            for _ in range(2):
                before = len(told["done"])
                await until(lambda: _so(len(told["done"]) > before + 300))  # noqa: B023 -- awaited at once
                os.kill(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
                await until(lambda: _so(_is_away(conninfo)))
                await asyncio.to_thread(server.start)
            before = len(told["done"])
            await until(lambda: _so(len(told["done"]) > before + 300))
        finally:
            stop.set()
            await asyncio.gather(*callers)
    stored = [line for (line,) in rows(conninfo, "select id::text from transactions where type = 'consume'")]
    assert len(stored) == len(set(stored))
    assert set(told["done"]) <= set(stored), "acknowledged and lost"
    assert set(stored).isdisjoint(told["refused"] + told["untried"]), "refused and stored"
    assert set(stored) <= set(told["done"] + told["unknown"])
    the_log(conninfo)
    findings = await asyncio.to_thread(verify, conninfo, VAULT)
    assert findings.differences == []


async def _so(fact: bool) -> bool:
    return fact


def _is_away(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo, connect_timeout=2).close()
    except psycopg.OperationalError:
        return True
    return False
