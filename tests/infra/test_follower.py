"""Followers apply every event once, whatever is killed, and whoever else follows."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace

from mintage.domain.recorded import Recorded
from mintage.infra import follower as module
from mintage.infra.database import connect_sync
from mintage.infra.follower import Follower, follow_once
from mintage.infra.rebuild import rebuild
from mintage.projections.postings import POSTINGS
from mintage.projections.sql import Statement
from mintage.projections.statistics import STATISTICS
from tests.conftest import VAULT, until
from tests.infra.kit import TERMINATE, consume, grant, journal_on, one, outcomes, rows, run_sql, some_id


async def spend(conninfo: str, times: int) -> None:
    user_id = some_id()
    async with journal_on(conninfo) as journal:
        await journal.transact(grant(user_id, 10_000), actor="test")
        await outcomes([consume(user_id, 2) for _ in range(times)], journal)


def spent(conninfo: str) -> int:
    return int(one(conninfo, "select coalesce(sum(total), 0) from statistics where measure = 'credits_spent'"))


def checkpoint(conninfo: str) -> int:
    return int(one(conninfo, "select coalesce(max(position), 0) from checkpoints"))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTION", 40)
    monkeypatch.setattr(module, "IDLE_S", 0.02)


async def test_portions_add_up_to_the_whole(conninfo: str) -> None:
    await spend(conninfo, 99)
    with connect_sync(conninfo) as connection:
        assert [follow_once(connection, VAULT, STATISTICS) for _ in range(4)] == [40, 40, 20, 0]
    assert (spent(conninfo), checkpoint(conninfo)) == (198, 100)


async def test_two_followers_of_one_model_count_nothing_twice(conninfo: str) -> None:
    await spend(conninfo, 399)

    def follow() -> int:
        applied = 0
        with connect_sync(conninfo) as connection:
            while some := follow_once(connection, VAULT, STATISTICS):
                applied += some
        return applied

    with ThreadPoolExecutor(3) as pool:
        applied = list(pool.map(lambda _: follow(), range(3)))
    assert sum(applied) == 400
    assert (spent(conninfo), checkpoint(conninfo)) == (798, 400)


async def test_a_portion_and_its_checkpoint_come_together_or_not_at_all(conninfo: str) -> None:
    await spend(conninfo, 19)
    # The server ends the session when the checkpoint is written: after the rows, before the commit.
    run_sql(
        conninfo,
        """create function die() returns trigger language plpgsql as
        $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$""",
        "create trigger dying before insert or update on checkpoints for each row execute function die()",
    )
    with connect_sync(conninfo) as connection, pytest.raises(psycopg.OperationalError):
        follow_once(connection, VAULT, STATISTICS)
    assert (spent(conninfo), checkpoint(conninfo)) == (0, 0)
    run_sql(conninfo, "drop trigger dying on checkpoints")
    with connect_sync(conninfo) as connection:
        assert follow_once(connection, VAULT, STATISTICS) == 20
    assert (spent(conninfo), checkpoint(conninfo)) == (38, 20)


async def test_a_follower_whose_connections_are_killed_goes_on(conninfo: str) -> None:
    following = asyncio.create_task(Follower(conninfo, VAULT, STATISTICS).run())
    try:
        for turn in range(1, 6):
            await spend(conninfo, 99)
            run_sql(conninfo, TERMINATE)

            async def caught_up(turn: int = turn) -> bool:
                return await asyncio.to_thread(checkpoint, conninfo) == 100 * turn

            await until(caught_up)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert spent(conninfo) == 5 * 198
    assert rebuild(conninfo, VAULT, STATISTICS, swap=False).differences == {"statistics": 0}


async def test_a_follower_outlives_what_nobody_foresaw(
    conninfo: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await spend(conninfo, 9)
    failures = iter([KeyError("a mistake"), KeyError("another")])
    original = module.follow_once

    def failing(*given: Any) -> int:
        if (failure := next(failures, None)) is not None:
            raise failure
        return original(*given)

    monkeypatch.setattr(module, "follow_once", failing)
    following = asyncio.create_task(Follower(conninfo, VAULT, STATISTICS).run())
    with caplog.at_level(logging.ERROR):
        await until(lambda: asyncio.to_thread(lambda: spent(conninfo) == 18))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert "a mistake" in caplog.text


async def test_a_follower_that_is_stopped_in_the_middle_lets_go_of_its_connection(conninfo: str) -> None:
    await spend(conninfo, 9)
    with psycopg.connect(conninfo) as holder:
        holder.execute("select pg_advisory_xact_lock(%s)", (module.follower_lock(STATISTICS),))
        following = asyncio.create_task(Follower(conninfo, VAULT, STATISTICS).run())
        waiting = "select count(*) from pg_stat_activity where wait_event = 'advisory'"

        async def it_waits() -> bool:
            return bool(await asyncio.to_thread(one, conninfo, waiting))

        await until(it_waits)
        following.cancel()
        done, _ = await asyncio.wait({following}, timeout=0.2)
        assert not done, "the portion has the connection until it is done"
        holder.commit()
        await asyncio.gather(following, return_exceptions=True)
    left = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    await until(lambda: asyncio.to_thread(lambda: rows(conninfo, left) == []))
    assert spent(conninfo) in {0, 18}
    assert (spent(conninfo) == 18) == (checkpoint(conninfo) == 10)


async def test_read_models_go_together_and_one_that_cannot_go_on_keeps_no_other(
    conninfo: str, caplog: pytest.LogCaptureFixture
) -> None:
    await spend(conninfo, 9)

    def broken(entries: Sequence[Recorded]) -> list[Statement]:
        raise KeyError("a mistake in its mapping")

    model = replace(POSTINGS, statements=broken)
    following = asyncio.create_task(Follower(conninfo, VAULT, model, STATISTICS).run())
    with caplog.at_level(logging.ERROR):
        await until(lambda: asyncio.to_thread(lambda: spent(conninfo) == 18))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert "read model postings cannot go on" in caplog.text
    assert "read model statistics" not in caplog.text
    # Mended, it comes from behind to where the others are, and then they go on together.
    with connect_sync(conninfo) as connection:
        assert [follow_once(connection, VAULT, POSTINGS, STATISTICS) for _ in range(2)] == [10, 0]
        await spend(conninfo, 9)
        assert follow_once(connection, VAULT, POSTINGS, STATISTICS) == 10
    for mended in (POSTINGS, STATISTICS):
        assert rebuild(conninfo, VAULT, mended, swap=False).differences == dict.fromkeys(mended.tables, 0)
